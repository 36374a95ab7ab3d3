from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgbpatch.config.fields import requirement, requirements_in
from xgbpatch.errors import ConfigurationError


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "requirements.txt"
        path.write_text(content, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param("shap==0.46.0\nnumba\n", ("shap==0.46.0", "numba"), id="plain"),
        pytest.param("# all\n\nshap  # explains\n", ("shap",), id="comments"),
        pytest.param("shap>=0.44,\\\n  <1\n", ("shap<1,>=0.44",), id="continued"),
        pytest.param("shap\nshap\n", ("shap",), id="twice"),
        pytest.param('a[b]; python_version < "3.9"', ('a[b]; python_version < "3.9"',), id="extra-and-marker"),
        pytest.param("", (), id="empty"),
        pytest.param("shap \\", ("shap",), id="continued-at-the-end"),
        pytest.param("x @ https://h/x-1.whl#sha256=0", ("x @ https://h/x-1.whl#sha256=0",), id="url"),
    ],
)  # fmt: skip
def test_lines(written, content, expected):
    assert requirements_in(written(content)) == expected


@pytest.mark.parametrize(
    ("content", "line", "option"),
    [
        pytest.param("shap\n-r other.txt", 2, "-r", id="nested"),
        pytest.param("--index-url https://x/simple", 1, "--index-url", id="index"),
        pytest.param("shap==1 \\\n  --hash=sha256:00", 1, "--hash", id="hash"),
        pytest.param("-e .", 1, "-e", id="editable"),
    ],
)
def test_options_are_refused_by_line(written, content, line, option):
    with pytest.raises(ConfigurationError, match=f'line {line} of ".*requirements.txt" holds the option "{option}"'):
        requirements_in(written(content))


def test_a_wrong_line_is_named(written):
    with pytest.raises(ConfigurationError, match=r'line 3 of .*"shap=1" is not a requirement'):
        requirements_in(written("numba\n\nshap=1\n"))


def test_a_binary_file_is_refused(tmp_path):
    path = tmp_path / "r.txt"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="cannot read"):
        requirements_in(path)


@given(st.text(max_size=60))
def test_a_requirement_is_stable_or_refused(text):
    try:
        once = requirement(text)
    except ConfigurationError:
        return
    assert requirement(once) == once
