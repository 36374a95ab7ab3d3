"""What an image's Python has installed, told from files, in the words of `probe/facts.py`."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from packaging.utils import canonicalize_name

from xgbpatch import core_metadata, definitions, pip_check
from xgbpatch.core_metadata import Metadata
from xgbpatch.facts import Distribution, PythonFacts
from xgbpatch.remote.python_tree import PythonTree
from xgbpatch.remote.tree import Tree


def folders(tree: Tree, python: PythonTree) -> list[str]:
    """The site-packages folders that are there, the one for pure Python first."""
    return [folder for folder in dict.fromkeys((python.site_packages, *python.site_folders)) if tree.is_folder(folder)]


def distributions(tree: Tree, places: Iterable[str]) -> Iterator[Metadata]:
    """The metadata of all that is installed in the folders `places`; of a name found twice the last one counts."""
    for path in _metadata_files(tree, places):
        yield core_metadata.parse(tree.read(path))


def complaints(tree: Tree, places: Iterable[str], python: PythonFacts) -> tuple[str, ...]:
    """What `pip check` says of it, which knows the requirements of eggs too."""
    found: list[Distribution] = []
    for path in _metadata_files(tree, places):
        metadata = core_metadata.parse(tree.read(path))
        requires = metadata.requires or tuple(_egg_requirements(tree, path))
        found.append(Distribution(canonicalize_name(metadata.name), metadata.version, requires))
    return pip_check.complaints(found, python)


def top_levels(tree: Tree, places: Iterable[str]) -> set[str]:
    """The importable names in the folders `places`."""
    return {entry.split(".")[0] for folder in places for entry in tree.list(folder) if _importable(tree, folder, entry)}


def package_root(tree: Tree, paths: Iterable[str], package: str) -> str:
    """The folder of the package on the import path `paths`; empty where none of them has it."""
    roots = (posixpath.join(path, package) for path in paths)
    return next((root for root in roots if tree.is_file(f"{root}/__init__.py")), "")


def modules(tree: Tree, root: str, package: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Dotted name, and path, sha256 and source, of each module below the package's folder."""
    for path in _python_files(tree, root):
        parts = path.removeprefix(f"{root}/").removesuffix(".py").split("/")
        content = tree.read(path)
        yield (
            ".".join([package, *(part for part in parts if part != "__init__")]),
            {
                "path": path,
                "sha256": hashlib.sha256(content).hexdigest(),
                "source": _text(content),
            },
        )


def _text(content: bytes) -> str:
    """Of a module; one that Python would not read is shown all the same."""
    try:
        return definitions.decoded(content)
    except SyntaxError:
        return content.decode("utf-8", "replace")


def _metadata_files(tree: Tree, places: Iterable[str]) -> Iterator[str]:
    for folder in places:
        names = [name for name in tree.list(folder) if not name.startswith(".")]
        paths = [f"{folder}/{name}/METADATA" for name in names if name.endswith(".dist-info")]
        eggs = [f"{folder}/{name}" for name in names if name.endswith(".egg-info")]
        yield from sorted(path for path in (*paths, *eggs, *(f"{egg}/PKG-INFO" for egg in eggs)) if tree.is_file(path))


def _egg_requirements(tree: Tree, metadata: str) -> Iterator[str]:
    path = f"{posixpath.dirname(metadata)}/requires.txt"
    if metadata.endswith(".egg-info/PKG-INFO") and tree.is_file(path):
        yield from core_metadata.egg_requirements(tree.read(path))


def _importable(tree: Tree, folder: str, entry: str) -> bool:
    if not entry.split(".", maxsplit=1)[0].isidentifier():
        return False
    return entry.endswith((".py", ".so")) or ("." not in entry and tree.is_folder(f"{folder}/{entry}"))


def _python_files(tree: Tree, folder: str) -> Iterator[str]:
    """As `os.walk` finds them: links to folders are not followed."""
    for name in tree.list(folder):
        path = f"{folder}/{name}"
        if not tree.is_folder(path):
            yield from [path] if name.endswith(".py") else []
        elif not tree.is_link(path):
            yield from _python_files(tree, path)
