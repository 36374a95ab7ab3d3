"""A replaced module must be written against the base's very file and keep every name the base needs from it."""

import hashlib
from pathlib import Path

import pytest

from xgbpatch.errors import ReplacementError
from xgbpatch.inspection.facts import Distribution, Facts, PythonFacts, UpstreamModule
from xgbpatch.patch import replacements
from xgbpatch.spec import Replacement

PACKAGE = "sagemaker_xgboost_container"
SOURCES = {
    PACKAGE: "",
    f"{PACKAGE}.encoder": "import os\nLIMIT = 3\ndef decode(x):\n    return x\ndef unused():\n    pass\n",
    f"{PACKAGE}.serving": (
        f"from {PACKAGE} import encoder as enc\nfrom .tools import helper\n"
        "def main(): return enc.decode(helper)\ndef serving_entrypoint(): pass\n"
    ),
    f"{PACKAGE}.tools": f"import {PACKAGE}.encoder\nfrom .encoder import LIMIT as MAXIMUM\nhelper = MAXIMUM\n",
    f"{PACKAGE}.training": "def main(): pass\n",
}


@pytest.fixture
def facts() -> Facts:
    modules = {
        name: UpstreamModule(f"/base/{name}.py", hashlib.sha256(text.encode()).hexdigest(), text)
        for name, text in SOURCES.items()
    }
    return Facts(
        digest="sha256:" + "0" * 64,
        python=PythonFacts("3.8.13", "/miniconda3/bin/python", "/miniconda3", "/s", "x86_64", "2.27"),
        distributions={"xgboost": Distribution("xgboost", "1.5.2")},
        modules=modules, top_levels=frozenset(), commands={}, environment={}, labels={},
    )  # fmt: skip


def replaced(tmp_path: Path, module: str, text: str, sha256: str | None = None) -> Replacement:
    path = tmp_path / "mine.py"
    path.write_text(text)
    return Replacement(module, path, hashlib.sha256(SOURCES[module].encode()).hexdigest() if sha256 is None else sha256)


def test_a_replacement_with_all_needed_names_is_accepted(tmp_path, facts):
    text = "try:\n    from fast import decode\nexcept ImportError:\n    def decode(x): return x\nLIMIT, OTHER = 4, 5\n"
    replacements.check(replaced(tmp_path, f"{PACKAGE}.encoder", text), facts)


@pytest.mark.parametrize(
    ("text", "missing", "by"),
    [
        pytest.param("LIMIT = 4\n", '"decode"', f"{PACKAGE}.serving", id="read through an alias of the module"),
        pytest.param("def decode(x): pass\n", '"LIMIT"', f"{PACKAGE}.tools", id="imported by a relative import"),
        pytest.param("def f():\n    LIMIT = 1\n    def decode(): pass\n", '"LIMIT"', "tools", id="bound in a function"),
    ],
)
def test_a_missing_name_stops_the_build_and_names_who_needs_it(tmp_path, facts, text, missing, by):
    with pytest.raises(ReplacementError) as caught:
        replacements.check(replaced(tmp_path, f"{PACKAGE}.encoder", text), facts)
    assert missing in caught.value.message
    assert by in caught.value.message
    assert "-def decode(x):" in caught.value.message or "+def decode" not in text


def test_names_that_only_a_string_mentions_are_needed_too(tmp_path, facts):
    with pytest.raises(ReplacementError, match="serving_entrypoint"):
        replacements.check(replaced(tmp_path, f"{PACKAGE}.serving", "def main(): pass\n"), facts)


def test_names_that_cannot_be_told_are_not_guessed(tmp_path, facts):
    replacements.check(replaced(tmp_path, f"{PACKAGE}.encoder", "from elsewhere import *\n"), facts)


@pytest.mark.parametrize("sha256", ["f" * 64, ""], ids=["another file", "not named"])
def test_a_changed_base_file_stops_the_build_with_the_difference(tmp_path, facts, sha256):
    with pytest.raises(ReplacementError) as caught:
        replacements.check(replaced(tmp_path, f"{PACKAGE}.encoder", "LIMIT = 4\n", sha256), facts)
    assert "-LIMIT = 3" in caught.value.message
    assert "+LIMIT = 4" in caught.value.message
    assert hashlib.sha256(SOURCES[f"{PACKAGE}.encoder"].encode()).hexdigest() in caught.value.next_step


def test_an_unknown_module_names_the_nearest(tmp_path, facts):
    path = tmp_path / "mine.py"
    path.write_text("")
    with pytest.raises(ReplacementError) as caught:
        replacements.check(Replacement(f"{PACKAGE}.encoders", path, ""), facts)
    assert f'Did you mean "{PACKAGE}.encoder"?' in caught.value.next_step


def test_invalid_python_is_refused(tmp_path, facts):
    with pytest.raises(ReplacementError, match="not valid Python"):
        replacements.check(replaced(tmp_path, f"{PACKAGE}.encoder", "def (:\n"), facts)
