"""Replaced modules in any encoding of Python's, and on a base whose Python reads more than ours."""

from __future__ import annotations

import codecs
import hashlib
import sys

import pytest

from xgbpatch.errors import ReplacementError
from xgbpatch.inspection import python
from xgbpatch.inspection.facts import Facts, PythonFacts, UpstreamModule
from xgbpatch.inspection.probe import facts
from xgbpatch.patch import hooks, replacements
from xgbpatch.spec import Replacement

PACKAGE = "sagemaker_xgboost_container"
ENCODER = "def decode(x):\n    return x\n"
USER = f"from {PACKAGE}.encoder import decode\n"
NEWER = "a syntax of the year 2040\n"
FUTURE = f"3.{sys.version_info[1] + 1}.0"

READABLE = {
    "latin-1": "# -*- coding: latin-1 -*-\nname = 'Zürich'\n".encode("latin-1"),
    "second line": b"#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\nname = 'Z\xfcrich'\n",
    "utf-8": "name = 'Zürich'\n".encode(),
    "byte order mark": codecs.BOM_UTF8 + "name = 'Zürich'\n".encode(),
    "both": codecs.BOM_UTF8 + "# coding: utf-8\nname = 'Zürich'\n".encode(),
    "windows line ends": "# coding: latin-1\r\nname = 'Zürich'\r\n".encode("latin-1"),
}
UNREADABLE = {
    "undeclared": "name = 'Zürich'\n".encode("latin-1"),
    "unknown encoding": b"# coding: klingon\n",
    "no encoding of text": b"# coding: rot13\nx = 1\n",
    "another than declared": b"# coding: ascii\nname = 'Z\xc3\xbcrich'\n",
    "mark against declaration": codecs.BOM_UTF8 + b"# coding: latin-1\n",
}


def facts_of(python: str = "3.8.13", **modules: str) -> Facts:
    sources = {"": "", "encoder": ENCODER, "serving": USER, **modules}
    return Facts(
        digest="sha256:0",
        python=PythonFacts(python, "/p/bin/python", "/p", "/s", "x86_64", "2.36"),
        distributions={}, top_levels=frozenset(), commands={}, environment={}, labels={},
        modules={
            f"{PACKAGE}.{name}".rstrip("."): UpstreamModule(
                f"/{name}.py", hashlib.sha256(text.encode()).hexdigest(), text
            )
            for name, text in sources.items()
        },
    )  # fmt: skip


def checked(tmp_path, content: bytes, facts: Facts, module: str = f"{PACKAGE}.encoder") -> None:
    path = tmp_path / "mine.py"
    path.write_bytes(content)
    replacements.check(Replacement(module, path, facts.modules[module].sha256), facts)


@pytest.mark.parametrize("content", READABLE.values(), ids=READABLE)
def test_a_replacement_is_read_in_the_encoding_it_declares(tmp_path, content):
    checked(tmp_path, content + ENCODER.encode(), facts_of())
    with pytest.raises(ReplacementError, match=r'lacks names.*\n.*"decode"') as refused:
        checked(tmp_path, content, facts_of())
    assert "+name = 'Zürich'" in refused.value.message


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_a_replacement_that_python_would_not_read_is_refused(tmp_path, content):
    with pytest.raises(ReplacementError, match="cannot be read") as refused:
        checked(tmp_path, content + ENCODER.encode(), facts_of())
    assert "PEP 263" in refused.value.next_step


@pytest.mark.parametrize("content", [*READABLE.values(), *UNREADABLE.values()], ids=[*READABLE, *UNREADABLE])
def test_a_base_module_has_one_text_whether_it_is_run_or_read_from_layers(tmp_path, content):
    (tmp_path / "a.py").write_bytes(content)

    class Folder:
        """The tree of an image with this one module."""

        def list(self, path):
            return ("a.py",)

        def is_folder(self, path):
            return False

        def read(self, path):
            return content

    ((_, of_layers),) = python.modules(Folder(), "/p", "m")
    assert of_layers["source"] == facts.module(str(tmp_path / "a.py"))["source"]
    assert ("Zürich" in of_layers["source"]) is (content in READABLE.values() or b"Z\xc3\xbcrich" in content)


@pytest.mark.parametrize(
    "text", ["x = 1\0\n", "x = '\ud800'\n", "(" * 100_000, "-" * 200_000 + "1"], ids=["NUL", "surrogate", "(", "-"]
)
def test_whatever_cannot_be_parsed_is_a_syntax_error(text):
    with pytest.raises(SyntaxError):
        hooks.parsed(text)
    with pytest.raises(SyntaxError):
        hooks.substance(text, "x")


def test_a_replacement_with_a_nul_is_refused(tmp_path):
    with pytest.raises(ReplacementError, match="not valid Python"):
        checked(tmp_path, ENCODER.encode() + b"\0", facts_of())


def test_a_base_module_of_a_newer_python_that_may_need_names_is_refused_and_names_the_python(tmp_path):
    with pytest.raises(ReplacementError, match=f'"{PACKAGE}.serving", which may need names of') as refused:
        checked(tmp_path, ENCODER.encode(), facts_of(FUTURE, serving=USER + NEWER))
    assert refused.value.next_step == f"Run xgbpatch on Python {FUTURE.rpartition('.')[0]} or newer."


def test_a_base_module_of_a_newer_python_that_never_mentions_the_replaced_one_is_no_hindrance(tmp_path):
    checked(tmp_path, ENCODER.encode(), facts_of(FUTURE, training=NEWER))


def test_from_a_package_names_are_taken_without_a_mention(tmp_path):
    with pytest.raises(ReplacementError, match=f'"{PACKAGE}.training"'):
        checked(tmp_path, b"", facts_of(FUTURE, training=f"from . import decode\n{NEWER}"), PACKAGE)


def test_the_replaced_module_itself_need_not_be_readable(tmp_path):
    checked(tmp_path, ENCODER.encode(), facts_of(FUTURE, encoder=ENCODER + NEWER))


@pytest.mark.parametrize("python", ["3.8.13", ".".join(map(str, sys.version_info[:3]))], ids=["older", "the same"])
def test_a_base_module_that_its_own_python_cannot_import_needs_nothing(tmp_path, python):
    checked(tmp_path, b"other = 1\n", facts_of(python, serving=USER + NEWER))


def test_a_replacement_in_a_newer_syntax_names_the_python_to_run_on(tmp_path):
    with pytest.raises(ReplacementError, match="cannot be read by the Python") as refused:
        checked(tmp_path, (ENCODER + NEWER).encode(), facts_of(FUTURE))
    assert FUTURE.rpartition(".")[0] in refused.value.next_step
