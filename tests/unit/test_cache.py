"""The cache only saves work: whatever is wrong with a file of it or with its folder, nothing fails."""

from __future__ import annotations

import gzip
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgbpatch import cache

NAMES = ["facts.json", "layer.json.gz"]


def texts(document: Any) -> dict[str, str]:
    if not all(isinstance(text, str) for text in document.values()):
        raise TypeError("not texts")
    return dict(document)


def write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize("name", NAMES)
@given(document=st.dictionaries(st.text(st.characters(exclude_categories=())), st.text(), max_size=5))
def test_what_was_written_is_read(tmp_path_factory, name, document):
    path = tmp_path_factory.mktemp("cache") / "folder" / name
    cache.write(path, document)
    assert cache.read(path, texts) == document
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b"\xff\xfe\x00", id="not text"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'{"a": 1}', id="a number for a text"),
        pytest.param(b"[" * 100_000, id="nested without end"),
    ],
)
def test_a_damaged_file_is_as_good_as_none(tmp_path, name, content):
    write_bytes(tmp_path / name, content)
    assert cache.read(tmp_path / name, texts) is None


@given(length=st.integers(min_value=0, max_value=60))
def test_a_packed_file_that_was_cut_off_is_as_good_as_none(tmp_path_factory, length):
    path = tmp_path_factory.mktemp("cache") / "layer.json.gz"
    cache.write(path, {"a": "b" * 1000, "c": "d"})
    whole = path.read_bytes()
    path.write_bytes(whole[: min(length, len(whole) - 1)])
    assert cache.read(path, texts) is None


def test_a_packed_file_with_a_changed_byte_is_never_believed(tmp_path):
    path = tmp_path / "layer.json.gz"
    document = {str(number): "x" * number for number in range(50)}
    cache.write(path, document)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        assert cache.read(path, texts) in (None, document)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_that_cannot_be_made_keeps_nothing(tmp_path, name):
    (tmp_path / "file").write_text("in the way")
    cache.write(tmp_path / "file" / "facts" / name, {"a": "b"})
    assert cache.read(tmp_path / "file" / "facts" / name, texts) is None


def test_a_full_disk_leaves_the_old_file_and_no_part(tmp_path, monkeypatch):
    path = tmp_path / "facts.json"
    cache.write(path, {"a": "old"})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    cache.write(path, {"a": "new"})
    assert cache.read(path, texts) == {"a": "old"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_at_the_path_is_no_document(tmp_path):
    (tmp_path / "facts.json").mkdir()
    cache.write(tmp_path / "facts.json", {"a": "b"})
    assert cache.read(tmp_path / "facts.json", texts) is None
    assert list(tmp_path.iterdir()) == [tmp_path / "facts.json"]


def test_without_a_path_nothing_is_kept():
    cache.write(None, {"a": "b"})
    assert cache.read(None, texts) is None


def test_a_fault_of_the_reader_itself_is_not_hidden(tmp_path):
    (tmp_path / "facts.json").write_text("{}")
    with pytest.raises(ZeroDivisionError):
        cache.read(tmp_path / "facts.json", lambda document: 1 / 0)


def test_a_file_is_whole_at_any_moment(tmp_path):
    """Two writers and a reader: processes with `rebuild --jobs`, threads here."""
    path = tmp_path / "facts.json"
    documents = [{"a": letter * 200_000} for letter in "xy"]
    cache.write(path, documents[0])
    writers = [
        threading.Thread(target=lambda document=document: [cache.write(path, document) for _ in range(20)])
        for document in documents
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert json.loads(path.read_bytes()) in documents
    assert list(tmp_path.iterdir()) == [path]
