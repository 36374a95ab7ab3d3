"""What a command without IMAGE means is remembered by configuration file, or by folder."""

from __future__ import annotations

import gzip
import json

import pytest

from xgbpatch import cache
from xgbpatch.commands import _context
from xgbpatch.commands._context import BuiltImage
from xgbpatch.commands._options import Selection
from xgbpatch.config.settings import Flags

ONE, TWO = BuiltImage("a:1", "sha256:1"), BuiltImage("b:1", "sha256:2")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("XGBPATCH_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def known(selection):
    place = _context._place_of_build(selection)
    return cache.read(_context._record(place), lambda document: _context._images(document, place))


def test_a_folder_and_its_file_have_builds_of_their_own_however_they_are_named(folder, monkeypatch):
    _context.remember_build(Selection(Flags()), [ONE])
    assert known(Selection(Flags())) == [ONE]
    (folder / "xgbpatch.toml").write_text("")
    assert known(Selection(Flags())) is None
    _context.remember_build(Selection(Flags()), [TWO])
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")
    assert known(Selection(Flags())) is None
    assert known(Selection(Flags(config=folder / "xgbpatch.toml"))) == [TWO]
    monkeypatch.setenv("XGBPATCH_CONFIG", "../xgbpatch.toml")
    assert known(Selection(Flags())) == [TWO]


@pytest.mark.parametrize("document", [{}, [], None, {"place": "/elsewhere", "images": [["a:1", "sha256:1"]]}])
def test_a_record_that_does_not_name_this_place_is_none(folder, document):
    path = _context._record(_context._place_of_build(Selection(Flags())))
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(json.dumps(document).encode()))
    assert known(Selection(Flags())) is None
