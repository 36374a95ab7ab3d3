"""Which checks run, and what the tables hold."""

import re
import struct
from itertools import groupby
from types import SimpleNamespace

import pytest
from packaging.version import Version

from xgbpatch.contract import CHECKS, Options, payloads
from xgbpatch.contract.checks import against_base
from xgbpatch.contract.runner import require_model, require_readable, selected
from xgbpatch.contract.server import PLAIN, Stack
from xgbpatch.errors import ConfigurationError
from xgbpatch.patch.features import FEATURES, FIXES


def names(**options):
    return [check.name for check in selected(Options(**options))]


def test_names_are_unique_and_every_check_says_what_it_proves():
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert [check.name for check in CHECKS if not check.what.endswith(".")] == []
    assert [check.name for check in CHECKS if re.search(r"\bfacts\b|\(\w+ \d", check.what)] == [], "no notes of ours"


def test_every_feature_and_every_fix_has_a_check_of_its_own():
    assert {check.feature for check in CHECKS} - {""} == set(FEATURES)
    assert {check.name for check in CHECKS if check.group == "fix"} == {f"fix.{name}" for name in FIXES}


def test_a_server_is_needed_by_checks_that_stand_together():
    """So that few run at a time; the plain server, which is stopped last, is the exception."""
    needs = [need for check in CHECKS if check.group != "base" for need in check.needs]
    needs = [need for need in needs if isinstance(need, Stack) and need is not PLAIN]
    runs = [need for need, _ in groupby(needs)]
    assert len(runs) == len(set(runs))


def test_the_base_is_compared_on_request_only():
    assert not [name for name in names() if name.startswith("base.")]
    assert "base.plain" in names(against_base=True)
    assert "serve.ping" in names(against_base=True)


def test_a_group_stands_for_its_checks_in_their_order():
    assert names(checks=("batch",)) == ["batch.lines", "batch.payload"]
    assert names(checks=("batch.payload", "image.size")) == ["image.size", "batch.payload"]


@pytest.mark.parametrize(
    ("wrong", "nearest"), [("serve.csvv", "serve.csv"), ("trian", "train"), ("shap.jsn", "shap.json")]
)
def test_an_unknown_check_is_refused_with_the_nearest(wrong, nearest):
    with pytest.raises(ConfigurationError, match=f'"{wrong}"; did you mean "{nearest}"'):
        names(checks=(wrong,))


def test_the_comparison_sends_at_least_sixty_different_requests_to_the_plain_server():
    questions = against_base.plain(payloads.abalone_rows())
    assert len({question.request for question in questions}) >= 60
    assert len({question.name for question in questions}) == len(questions)


def test_abalone_rows_are_as_wide_as_the_model_sees_them():
    rows = payloads.abalone_rows()
    assert len(rows) == 626
    assert {len(row) for row in rows} == {payloads.ABALONE_FEATURES}
    assert rows[0][:3] == (0.0, 2.0, 0.645)


def folder_of(tmp_path, files):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.mark.parametrize(
    ("files", "says"),
    [
        pytest.param({}, "holds no model file", id="nothing"),
        pytest.param({".hidden": b"x"}, "holds no model file", id="hidden"),
        pytest.param({"model/xgboost-model": b"{"}, "holds no model file", id="one folder too high"),
        pytest.param({"model.tar.gz": b"\x1f\x8b\x08"}, "is an archive", id="packed"),
        pytest.param({"xgboost-model": b"binf", "README.md": b"# Our model\n"}, "README.md", id="text beside it"),
        pytest.param({"xgboost-model": b""}, "is no model", id="empty"),
    ],
)
def test_a_folder_that_no_server_could_load_is_refused_at_once(tmp_path, files, says):
    with pytest.raises(ConfigurationError, match=says):
        require_model(folder_of(tmp_path, files))


@pytest.mark.parametrize("name", ["not there", "file"])
def test_a_model_that_is_no_folder_is_refused_at_once(tmp_path, name):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        require_model(tmp_path / name)


@pytest.mark.parametrize(
    "content", [b'{"learner":', b"{L\0\0", b"binf\0", b"\x80\x04\x95", b"\0\0\0\x3f\x08\0", b"ccopy_reg\n"],
    ids=["JSON", "UBJSON", "binf", "pickle", "raw binary", "pickle of protocol 0"],
)  # fmt: skip
def test_every_format_of_a_model_is_let_through(tmp_path, content):
    require_model(folder_of(tmp_path, {"xgboost-model": content, ".xgbpatch": b"", "xgbpatch/names.json": b"[]"}))


def test_a_module_of_the_user_s_may_load_anything_and_model_files_passes_over_it(tmp_path):
    require_model(folder_of(tmp_path, {"model.txt": b"text"}), any_file=True)


def test_a_model_that_the_image_does_not_read_is_refused_with_the_way_out(tmp_path):
    model_bytes = struct.pack("<fIiiiII", 0.5, 4, 0, 0, 0, 1, 5).ljust(136, b"\0")
    model_bytes += b"".join(struct.pack("<Q", len(text)) + text for text in (b"reg:squarederror", b"gbtree")) + bytes(
        200
    )
    folder, lines = folder_of(tmp_path, {"xgboost-model": model_bytes, "notes.txt": b"of the model"}), []
    progress = SimpleNamespace(line=lines.append)
    with pytest.raises(ConfigurationError, match=r"the old binary format that xgboost 1\.5 wrote") as refused:
        require_readable(folder, Version("3.2.0"), progress)
    assert f'convert-model "{folder / "xgboost-model"}" model.json --for 3.2.0' in refused.value.next_step
    require_readable(folder, Version("1.7.4"), progress)
    require_readable(folder, None, progress)
    assert lines == []
    (folder / "xgboost-model").write_bytes(b'{"learner":{},"version":[3,2,0]}')
    require_readable(folder, Version("3.0.5"), progress)
    assert "predicts other numbers" in lines[0]
