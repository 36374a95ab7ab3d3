"""The cache only saves work: whatever is wrong with what it holds or with its folder, nothing fails."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgbpatch import cache


def texts(document: Any) -> dict[str, str]:
    if not all(isinstance(text, str) for text in document.values()):
        raise TypeError("not texts")
    return dict(document)


@given(document=st.dictionaries(st.text(st.characters(exclude_categories=())), st.text(), max_size=5))
def test_what_was_written_is_read(tmp_path_factory, document):
    path = tmp_path_factory.mktemp("cache") / "folder" / "facts.json.gz"
    cache.write(path, document)
    assert cache.read(path, texts) == document
    assert list(path.parent.iterdir()) == [path]


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
def test_a_damaged_file_is_as_good_as_none(tmp_path, content):
    for written in (content, gzip.compress(content)):
        (tmp_path / "facts.json.gz").write_bytes(written)
        assert cache.read(tmp_path / "facts.json.gz", texts) is None


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


def test_a_folder_that_cannot_be_made_keeps_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache.write(tmp_path / "file" / "facts" / "facts.json.gz", {"a": "b"})
    assert cache.read(tmp_path / "file" / "facts" / "facts.json.gz", texts) is None


def test_a_full_disk_leaves_the_old_file_and_no_part(tmp_path, monkeypatch):
    path = tmp_path / "facts.json.gz"
    cache.write(path, {"a": "old"})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    cache.write(path, {"a": "new"})
    assert cache.read(path, texts) == {"a": "old"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_at_the_path_is_no_document(tmp_path):
    (tmp_path / "facts.json.gz").mkdir()
    cache.write(tmp_path / "facts.json.gz", {"a": "b"})
    assert cache.read(tmp_path / "facts.json.gz", texts) is None
    assert list(tmp_path.iterdir()) == [tmp_path / "facts.json.gz"]


def test_without_a_path_nothing_is_kept():
    cache.write(None, {"a": "b"})
    assert cache.read(None, texts) is None


def test_a_fault_of_the_reader_itself_is_not_hidden(tmp_path):
    cache.write(tmp_path / "facts.json.gz", {})
    with pytest.raises(ZeroDivisionError):
        cache.read(tmp_path / "facts.json.gz", lambda document: 1 / 0)


def test_a_file_is_whole_at_any_moment(tmp_path):
    """Two writers and a reader: processes with `rebuild --jobs`, threads here."""
    path = tmp_path / "facts.json.gz"
    documents = [{"a": letter * 200_000} for letter in "xy"]
    cache.write(path, documents[0])
    writers = [
        threading.Thread(target=lambda document=document: [cache.write(path, document) for _ in range(20)])
        for document in documents
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert json.loads(gzip.decompress(path.read_bytes())) in documents
    assert list(tmp_path.iterdir()) == [path]


def fill(folder: Path) -> None:
    (folder / "lib").mkdir(parents=True)
    (folder / "lib/a.so").write_bytes(b"machine code")
    (folder / "tool").write_text("#!python")


def read_only(folder: Path) -> None:
    """As a Lambda's disk is, also for root: a file stands where a folder should be made."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("in the way")


def lose(tree: Path) -> None:
    (tree / "lib/a.so").unlink()


def empty(tree: Path) -> None:
    (tree / "lib/a.so").write_bytes(b"")


def change(tree: Path) -> None:
    """Size and date are as they were."""
    status = (tree / "lib/a.so").stat()
    (tree / "lib/a.so").write_bytes(b"MACHINE CODE")
    os.utime(tree / "lib/a.so", ns=(status.st_atime_ns, status.st_mtime_ns))


def add(tree: Path) -> None:
    (tree / "lib/evil.py").write_text("import os")


def make_executable(tree: Path) -> None:
    (tree / "lib/a.so").chmod(0o755)


def lose_digest(tree: Path) -> None:
    (tree.parent / "sha256").write_text("")


def lose_all(tree: Path) -> None:
    shutil.rmtree(tree.parent)
    tree.parent.write_text("a file")


@pytest.mark.parametrize("damage", [lose, empty, change, add, make_executable, lose_digest, lose_all])
def test_a_tree_is_made_again_only_where_it_is_not_as_it_was(tmp_path, damage):
    folders = []

    def make(folder: Path) -> None:
        folders.append(folder)
        fill(folder)

    tree = cache.keep_tree(tmp_path / "packages/a", make)
    assert cache.keep_tree(tmp_path / "packages/a", make) == tree
    assert len(folders) == 1
    damage(tree)
    assert cache.keep_tree(tmp_path / "packages/a", make) == tree
    assert len(folders) == 2
    assert (tree / "lib/a.so").read_bytes() == b"machine code"
    assert [entry.name for entry in (tmp_path / "packages").iterdir()] == ["a"]


def test_what_a_tree_is_made_of_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    path, synced = tmp_path / "packages/a", []

    def fsync(descriptor: int) -> None:
        assert not path.exists()
        synced.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", fsync)
    cache.keep_tree(path, fill)
    assert sorted(synced) == sorted(file.stat().st_ino for file in path.rglob("*") if file.is_file())


def test_where_nothing_can_be_kept_a_tree_lies_elsewhere_and_goes_with_the_process(tmp_path):
    read_only(tmp_path / "packages")
    program = (
        "import sys, pathlib; from xgbpatch import cache\n"
        "make = lambda part: (part.mkdir(), (part / 'a').write_text('a'))\n"
        "path = pathlib.Path(sys.argv[1]); tree = cache.keep_tree(path, make)\n"
        "assert (tree / 'a').read_text() == 'a' and cache.keep_tree(path, None) == tree; print(tree)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path / "scratch")}
    (tmp_path / "scratch").mkdir()
    subprocess.run([sys.executable, "-c", program, tmp_path / "packages/a"], env=environment, check=True)
    assert not list((tmp_path / "scratch").iterdir())


def test_what_fails_while_it_is_made_leaves_nothing(tmp_path):
    def make(folder: Path) -> None:
        fill(folder)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cache.keep_tree(tmp_path / "packages/a", make)
    assert not list((tmp_path / "packages").iterdir())


@pytest.mark.parametrize("damaged", [False, True], ids=["new", "damaged"])
def test_runs_that_make_the_same_at_once_all_succeed(tmp_path, damaged):
    """All have made it before the first gives it its name."""
    path, runs = tmp_path / "packages/a", 4
    barrier, this = threading.Barrier(runs), threading.local()
    if damaged:
        lose(cache.keep_tree(path, fill))

    def make(folder: Path) -> None:
        fill(folder)
        if not hasattr(this, "waited"):  # who lost may make it once more, elsewhere
            this.waited = barrier.wait(300)

    def run(_: int) -> bytes:
        return (cache.keep_tree(path, make) / "lib/a.so").read_bytes()

    with ThreadPoolExecutor(runs) as pool:
        assert list(pool.map(run, range(runs))) == [b"machine code"] * runs
    assert [entry.name for entry in path.parent.iterdir()] == ["a"]
