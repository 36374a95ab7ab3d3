"""Layers merged as overlayfs merges them, and paths followed as Linux follows them."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.layers import Content, Link, indexed
from xgbpatch.errors import BaseImageError
from xgbpatch.oci.filesystem import FileTree
from xgbpatch.oci.layer_index import EntryKind

Members = tuple[tuple[str, Content], ...]

PY = "sagemaker_xgboost_container"  # files below it are kept


def tree_of(*layers: Members) -> FileTree:
    """The tree of layers given oldest first, as an image's are."""
    return FileTree(tuple(indexed(*members) for members in reversed(layers)))


def test_folders_of_all_layers_are_one():
    tree = tree_of((("a/", None), ("a/old", b"")), (("a/", None), ("a/new", b"")))
    assert tree.list("/a") == ("new", "old")
    assert tree.list("/") == ("a",)


def test_the_newest_file_counts():
    tree = tree_of(((f"{PY}/a.py", b"old"),), ((f"{PY}/a.py", b"new"),), (("other", b""),))
    assert tree.read(f"/{PY}/a.py") == b"new"


def test_a_whiteout_hides_what_is_older_and_not_what_is_newer():
    tree = tree_of((("a/b/c", b""), ("a/d", b"")), (("a/.wh.b", b""),))
    assert tree.list("/a") == ("d",)
    assert tree.entry("/a/b") is None
    assert tree.entry("/a/b/c") is None
    back = tree_of((("a/b/c", b""),), (("a/.wh.b", b""),), (("a/b/e", b""),))
    assert back.list("/a/b") == ("e",)


def test_a_whiteout_beside_its_own_path_replaces_it():
    tree = tree_of((("a/old", b""),), ((".wh.a", b""), ("a/new", b"")))
    assert tree.list("/a") == ("new",)


def test_an_opaque_folder_hides_all_that_is_older():
    tree = tree_of((("a/b", b""), ("a/c/d", b"")), (("a/.wh..wh..opq", b""), ("a/c/e", b"")))
    assert tree.list("/a") == ("c",)
    assert tree.list("/a/c") == ("e",)


def test_an_opaque_root_hides_the_image_below():
    assert tree_of((("a", b""),), ((".wh..wh..opq", b""), ("b", b""))).list("/") == ("b",)


def test_a_file_in_the_place_of_a_folder_hides_what_was_in_it():
    tree = tree_of((("a/b", b""),), (("a", b"file"),))
    assert tree.is_file("/a")
    assert tree.entry("/a/b") is None


def test_nothing_is_below_a_file_whatever_its_layer_claims():
    tree = tree_of((("a/b", b""), ("a", b"file")))
    assert tree.entry("/a/b") is None
    assert tree.list("/a") == ()


def test_a_folder_in_the_place_of_a_file_or_link_starts_empty():
    tree = tree_of((("a/hidden", b""),), (("a", Link("elsewhere")),), (("a/b", b""),))
    assert tree.list("/a") == ("b",)


def test_links_to_folders_are_followed_as_the_merged_tree_has_them():
    """Debian's merged /usr: the link is in the oldest layer, and newer layers write to where it points."""
    tree = tree_of(
        (("usr/lib/old", b""), ("lib", Link("usr/lib")), ("lib64", Link("/usr/lib"))), (("usr/lib/new", b""),)
    )
    assert tree.list("/lib") == tree.list("/lib64") == ("new", "old")
    assert tree.resolve("/lib64/./new") == "/usr/lib/new"
    assert tree.is_link("/lib")
    assert not tree.is_link("/lib/new")


@pytest.mark.parametrize(
    ("path", "resolved"),
    [
        ("/opt/venv/bin/python", "/usr/bin/python3.12"),
        ("/opt/venv/lib64/x", "/opt/venv/lib/x"),
        ("/opt/venv/bin/../lib/x", "/opt/venv/lib/x"),
        ("/opt/venv/lib64/../bin", "/opt/venv/bin"),
        ("/../..//opt/./venv", "/opt/venv"),
        ("/", "/"),
        ("/up", "/"),
        ("/loop", ""),
        ("/dangling", ""),
        ("/opt/venv/lib/x/y", ""),
        ("/opt/venv/lib/x/..", ""),
        ("/nowhere", ""),
    ],
)
def test_paths_are_resolved_as_linux_does(path: str, resolved: str):
    tree = tree_of(
        (
            ("usr/bin/python3.12", b""),
            ("opt/venv/bin/python", Link("python3.12")),
            ("opt/venv/bin/python3.12", Link("/usr/bin/python3.12")),
            ("opt/venv/lib/x", b""),
            ("opt/venv/lib64", Link("lib")),
            ("loop", Link("/loop2")),
            ("loop2", Link("loop")),
            ("dangling", Link("nowhere")),
            ("up", Link("../../..")),
        )
    )
    assert tree.resolve(path) == resolved


def test_links_as_long_as_linux_takes_are_followed_as_far_as_linux_does():
    """40 links of 2,000 folders each are quick, and one more is no file."""
    climb = "x/../" * 800
    links = [(f"{number}", Link(f"{climb}{number + 1}")) for number in range(40)]
    tree = tree_of((("x/", None), *links, ("40", b""), ("more", Link("0"))))
    assert tree.resolve("/0") == "/40"
    assert tree.resolve("/more") == ""


def test_content_that_no_index_keeps_is_refused_with_a_way_out():
    tree = tree_of((("a", b"x"), (f"{PY}/a.py", b"y"), ("b/", None)))
    for path in ("/a", "/b", "/nowhere"):
        with pytest.raises(BaseImageError) as caught:
            tree.read(path)
        assert "--builder docker" in caught.value.next_step


NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
MEMBERS = st.one_of(
    st.tuples(PATHS, st.just(b"")),
    st.tuples(PATHS, st.none()),
    st.tuples(PATHS.map(lambda path: posixpath.join(posixpath.dirname(path), f".wh.{path[-1]}")), st.just(b"")),
    st.tuples(PATHS.map(lambda path: f"{path}/.wh..wh..opq"), st.just(b"")),
)


def _is_layer(members: list[tuple[str, Content]]) -> bool:
    """A layer is one state of files: no path twice, and nothing below a file."""
    paths = [path.replace("/.wh..wh..opq", "/.").replace(".wh.", "") for path, _ in members]
    files = {path for path, content in members if content is not None and ".wh." not in path}
    marks = {path for path, _ in members if ".wh." in path}
    below = any(other.startswith(f"{file}/") for file in files for other in [path for path, _ in members])
    return len(set(paths)) == len(paths) and not below and len(marks) == len(set(marks))


LAYERS = st.lists(st.lists(MEMBERS, max_size=5).filter(_is_layer), min_size=1, max_size=4)


def _applied(layers: list[list[tuple[str, Content]]]) -> dict[str, EntryKind]:
    """The reference: layers unpacked one after another over the same folder, as the OCI specification words it."""
    state: dict[str, EntryKind] = {}
    for members in layers:
        for path, _ in members:
            folder, name = posixpath.split(path)
            if name == ".wh..wh..opq":
                _remove_below(state, folder)
            elif name.startswith(".wh."):
                hidden = posixpath.join(folder, name.removeprefix(".wh."))
                _remove_below(state, hidden)
                state.pop(hidden, None)
        for path, content in members:
            folder, name = posixpath.split(path)
            _make_folders(state, folder)
            if not name.startswith(".wh."):
                _put(state, path, EntryKind.FOLDER if content is None else EntryKind.FILE)
    return state


def _remove_below(state: dict[str, EntryKind], folder: str) -> None:
    for path in [path for path in state if path.startswith(f"{folder}/")]:
        del state[path]


def _make_folders(state: dict[str, EntryKind], folder: str) -> None:
    if folder:
        _make_folders(state, posixpath.dirname(folder))
        _put(state, folder, EntryKind.FOLDER)


def _put(state: dict[str, EntryKind], path: str, kind: EntryKind) -> None:
    if kind is not EntryKind.FOLDER or state.get(path) is not EntryKind.FOLDER:
        _remove_below(state, path)
        state[path] = kind


def _walked(tree: FileTree, folder: str = "/") -> dict[str, EntryKind]:
    kinds: dict[str, EntryKind] = {}
    for name in tree.list(folder):
        path = posixpath.join(folder, name)
        entry = tree.entry(path)
        assert entry is not None
        kinds[path[1:]] = entry.kind
        kinds.update(_walked(tree, path) if entry.kind is EntryKind.FOLDER else {})
    return kinds


@settings(max_examples=300, deadline=None)
@given(layers=LAYERS)
def test_any_stack_of_layers_is_what_unpacking_them_gives(layers: list[list[tuple[str, Content]]]):
    assert _walked(tree_of(*(tuple(members) for members in layers))) == _applied(layers)
