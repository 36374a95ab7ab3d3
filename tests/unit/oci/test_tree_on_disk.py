"""The tree of a layer answers as a real file system with the same files does."""

from __future__ import annotations

import os
import posixpath
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from xgbpatch.oci.filesystem import FileTree
from xgbpatch.oci.layer_index import Entry, EntryKind, LayerIndex

NAMES = st.sampled_from(["a", "b", "c", "ab", "bc"])
STEPS = st.sampled_from(["a", "b", "c", "ab", "bc", ".", "..", ""])
FOLDERS = st.lists(NAMES, max_size=3).map(tuple)


@dataclass(frozen=True)
class Link:
    """To `names` below the root, or as many folders up from its own as `ups` says."""

    names: tuple[str, ...]
    ups: int | None = None


CONTENTS = st.one_of(
    st.just("file"),
    st.just("folder"),
    st.builds(Link, FOLDERS),
    st.builds(Link, FOLDERS, st.integers(min_value=0, max_value=3)),
)
MEMBERS = st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map(tuple), CONTENTS, max_size=8)
PATHS = st.lists(STEPS, min_size=1, max_size=5)


def target(path: tuple[str, ...], link: Link, root: str) -> str:
    if link.ups is None:
        return posixpath.join(root or "/", *link.names)
    return "/".join([*[".."] * min(link.ups, len(path) - 1), *link.names]) or "."


def planted(members: dict[tuple[str, ...], str | Link], root: Path) -> FileTree:
    """`members` below `root`, as far as they can stand together, and the layer that holds the same ones."""
    entries: dict[str, Entry] = {}
    for path, content in sorted(members.items(), key=lambda item: len(item[0])):
        parents = ["/".join(path[:length]) for length in range(1, len(path))]
        if any(entries.get(parent, Entry(EntryKind.FOLDER, 0, 0)).kind is not EntryKind.FOLDER for parent in parents):
            continue
        place, name = root.joinpath(*path), "/".join(path)
        if name in entries and content != "folder":
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        for parent in parents:
            entries.setdefault(parent, Entry(EntryKind.FOLDER, 0o755, 0))
        if isinstance(content, Link):
            place.symlink_to(target(path, content, str(root)))
            entries[name] = Entry(EntryKind.SYMLINK, 0o777, 0, target(path, content, ""))
        elif content == "folder":
            place.mkdir(exist_ok=True)
            entries[name] = Entry(EntryKind.FOLDER, 0o755, 0)
        else:
            place.touch()
            entries[name] = Entry(EntryKind.FILE, 0o644, 0)
    return FileTree((LayerIndex(entries),))


@contextmanager
def on_disk() -> Iterator[Path]:
    folder = tempfile.mkdtemp()
    try:
        yield Path(os.path.realpath(folder))
    finally:
        shutil.rmtree(folder)


def resolved(path: str, root: Path) -> str:
    """As the tree words it; empty where there is nothing. `realpath` alone takes `file/.` for the file."""
    if not os.path.exists(path):
        return ""
    return f"/{os.path.relpath(os.path.realpath(path), root)}".removesuffix("/.") or "/"


def stays_below(root: Path, steps: list[str]) -> bool:
    """Above the root of an image there is nothing, above that of a folder there is: such paths cannot be compared."""
    prefixes = (os.path.realpath(os.path.join(root, *steps[:length])) for length in range(len(steps) + 1))
    return all(prefix == str(root) or prefix.startswith(f"{root}/") for prefix in prefixes)


@settings(max_examples=500, deadline=None)
@given(members=MEMBERS, steps=PATHS)
def test_any_path_is_answered_as_linux_answers_it(members, steps):
    with on_disk() as root:
        tree = planted(members, root)
        steps = [steps[0] or "a", *steps[1:]]
        assume(stays_below(root, [step for step in steps if step]))
        path, real = "/" + "/".join(steps), f"{root}/" + "/".join(steps)
        assert tree.is_link(path) is os.path.islink(real)
        assert tree.resolve(path) == resolved(real, root)
        assert tree.is_file(path) is os.path.isfile(real)
        assert tree.is_folder(path) is os.path.isdir(real)
        names = tuple(sorted(os.listdir(real))) if os.path.isdir(real) else ()
        assert tree.list(path) == names


@pytest.mark.parametrize("path", ["/gone/ab", "/gone/xb", "/file/ab", "/loop/ab", "/gone/../ab"])
def test_nothing_is_a_link_below_a_folder_that_is_not_there(path):
    """`ab` and `b` are links at the root: the name of one is not what is left of the other."""
    link = Entry(EntryKind.SYMLINK, 0o777, 0, "file")
    tree = FileTree(
        (LayerIndex({"ab": link, "b": link, "file": Entry(EntryKind.FILE, 0, 0), "loop": link._replace(link="loop")}),)
    )
    assert not tree.is_link(path)
