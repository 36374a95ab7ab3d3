from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgbpatch.config.fields import _target, replacements, user_files
from xgbpatch.errors import ConfigurationError

SHA256 = "ab" * 32


@pytest.fixture
def folder(tmp_path):
    for name in (
        "a.py",
        "package/__init__.py",
        "package/sub/m.py",
        "package/__pycache__/m.pyc",
        "package/.git/HEAD",
        "package/__pycache__/x",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "empty").mkdir()
    return tmp_path


def targets(entries, folder):
    return {file.target: file.source.relative_to(folder).as_posix() for file in user_files(entries, folder)}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param({"source": "a.py"}, {"a.py": "a.py"}, id="default-target-is-the-name"),
        pytest.param({"source": "a.py", "target": "x/b.py"}, {"x/b.py": "a.py"}, id="target"),
        pytest.param({"source": "./package/../a.py"}, {"a.py": "a.py"}, id="source-is-normalized"),
        pytest.param({"source": "a.py", "target": "./b.py"}, {"b.py": "a.py"}, id="target-is-normalized"),
        pytest.param(
            {"source": "package"},
            {"package/__init__.py": "package/__init__.py", "package/sub/m.py": "package/sub/m.py"},
            id="directory-without-caches-and-hidden-files",
        ),
        pytest.param(
            {"source": "package/sub", "target": "other"}, {"other/m.py": "package/sub/m.py"}, id="directory-with-target"
        ),
    ],
)
def test_targets(folder, entry, expected):
    assert targets([entry], folder) == expected


def test_sources_are_absolute(folder):
    (file,) = user_files([{"source": "a.py"}], folder)
    assert file.source == folder / "a.py"
    assert file.source.is_absolute()


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../up.py", "a/../../up.py", "a/..", ".", "a\\b", "a\nb", "a\0b"], ids=repr
)
def test_targets_that_leave_the_folder_are_refused(folder, target):
    with pytest.raises(ConfigurationError, match="does not stay inside"):
        user_files([{"source": "a.py", "target": target}], folder)


@given(st.text(min_size=1, max_size=40))
def test_an_accepted_target_stays_inside(target):
    try:
        parts = _target(target).split("/")
    except ConfigurationError:
        return
    assert all(part not in ("", ".", "..") for part in parts)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        pytest.param([{"source": "no.py"}], '"no.py" does not exist', id="missing"),
        pytest.param([{"source": "empty"}], '"empty" holds no file', id="empty-directory"),
        pytest.param([{"target": "a.py"}], '"source" is missing', id="no-source"),
        pytest.param([{"sorce": "a.py"}], '"sorce" is not a key here', id="wrong-key"),
        pytest.param([{"source": 1}], "must be text, not a number", id="number"),
        pytest.param({"source": "a.py"}, "must be an array of tables, not a table", id="single-brackets"),
        pytest.param(["a.py"], "must be a table, not text", id="text"),
    ],
)
def test_wrong_entries(folder, entries, message):
    with pytest.raises(ConfigurationError, match=message):
        user_files(entries, folder)


def test_a_target_given_twice_names_both_sources(folder):
    with pytest.raises(ConfigurationError, match=r'a\.py" and ".*__init__\.py" both become "x\.py"'):
        user_files([{"source": "a.py", "target": "x.py"}, {"source": "package/__init__.py", "target": "x.py"}], folder)


def replacement(**changes):
    return [{"module": "sagemaker_xgboost_container.encoder", "source": "a.py", "sha256": SHA256, **changes}]


def test_replacement(folder):
    (item,) = replacements(replacement(), folder)
    assert (item.module, item.source, item.sha256) == (
        "sagemaker_xgboost_container.encoder", folder / "a.py", SHA256,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"module": "flask.app"}, '"flask.app" is not a module of the official packages', id="foreign"),
        pytest.param({"module": "sagemaker_xgboost_container."}, "is not a module", id="trailing-dot"),
        pytest.param({"module": "sagemaker_xgboost_containers"}, "is not a module", id="prefix-only"),
        pytest.param({"source": "no.py"}, '"no.py" does not exist', id="missing-source"),
        pytest.param({"source": "package"}, '"package" is not a file', id="directory"),
        pytest.param({"sha256": "ab" * 31}, "is not a sha256", id="short-hash"),
        pytest.param({"sha256": "AB" * 32}, "is not a sha256", id="capitals"),
    ],
)
def test_wrong_replacements(folder, changes, message):
    with pytest.raises(ConfigurationError, match=message):
        replacements(replacement(**changes), folder)


def test_a_module_replaced_twice_is_refused(folder):
    with pytest.raises(ConfigurationError, match="is replaced twice"):
        replacements(replacement() * 2, folder)
