"""The user's own files and replacements: from paths as written to files that exist."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from xgbpatch.configuration import shapes
from xgbpatch.errors import ConfigurationError
from xgbpatch.spec import Replacement, UserFile

REPLACEABLE = ("sagemaker_xgboost_container", "sagemaker_algorithm_toolkit")
_MODULE = re.compile(rf"(?:{'|'.join(REPLACEABLE)})(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")


def user_files(value: Any, folder: Path) -> tuple[UserFile, ...]:
    """`[[files]]` tables with `source` (relative to `folder`) and `target`; a directory stands for all files below it.

    Raises `ConfigurationError` for a source that is missing, a target that leaves the folder, or one named twice.
    """
    found: dict[str, UserFile] = {}
    for entry in shapes.tables(value, ("source",), ("target",)):
        for file in _expanded(entry, folder):
            if file.target in found:
                raise ConfigurationError(
                    f'"{found[file.target].source}" and "{file.source}" both become "{file.target}"',
                    "Give one of them another target.",
                )
            found[file.target] = file
    return tuple(found[target] for target in sorted(found))


def replacements(value: Any, folder: Path) -> tuple[Replacement, ...]:
    """`[[replace]]` tables with `module`, `source` (relative to `folder`) and the `sha256` of the base's file."""
    found: dict[str, Replacement] = {}
    for entry in shapes.tables(value, ("module", "source", "sha256")):
        item = Replacement(_module(entry["module"]), _file(entry["source"], folder), _sha256(entry["sha256"]))
        if item.module in found:
            raise ConfigurationError(f'"{item.module}" is replaced twice', "Keep one of the two.")
        found[item.module] = item
    return tuple(found.values())


def existing(written: Any, folder: Path) -> Path:
    """The absolute path of `written`, which must exist; relative paths start at `folder`."""
    path = Path(os.path.abspath(folder / shapes.text(written)))
    if not path.exists():
        raise ConfigurationError(
            f'"{written}" does not exist', f'Looked for "{path}" (relative paths start at "{folder}").'
        )
    return path


def _expanded(entry: dict[str, Any], folder: Path) -> Iterator[UserFile]:
    source = existing(entry["source"], folder)
    target = _target(shapes.text(entry.get("target", source.name)))
    if source.is_file():
        yield UserFile(source, target)
        return
    files = list(_below(source))
    if not files:
        raise ConfigurationError(f'"{entry["source"]}" holds no file', "Hidden files and __pycache__ are left out.")
    for file in files:
        yield UserFile(file, _target(f"{target}/{file.relative_to(source).as_posix()}"))


def _below(root: Path) -> Iterator[Path]:
    """Regular files, without hidden ones and caches; links to directories are not followed."""
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith(".") and name != "__pycache__")
        for name in sorted(files):
            path = Path(folder, name)
            if not name.startswith(".") and not name.endswith(".pyc") and path.is_file():
                yield path


def _target(written: str) -> str:
    path = PurePosixPath(written)
    if _FORBIDDEN.search(written) or path.is_absolute() or ".." in path.parts or not path.parts:
        raise ConfigurationError(
            f'target "{written}" does not stay inside the image\'s folder for user files',
            'Write a relative path with "/" and without "..", such as "mypackage/module.py".',
        )
    return path.as_posix()


def _module(written: Any) -> str:
    module = shapes.text(written)
    if not _MODULE.fullmatch(module):
        raise ConfigurationError(
            f'"{module}" is not a module of the official packages', f"Modules start with {' or '.join(REPLACEABLE)}."
        )
    return module


def _file(written: Any, folder: Path) -> Path:
    path = existing(written, folder)
    if not path.is_file():
        raise ConfigurationError(f'"{written}" is not a file', "One file replaces one module.")
    return path


def _sha256(written: Any) -> str:
    digest = shapes.text(written).removeprefix("sha256:")
    if not _SHA256.fullmatch(digest):
        raise ConfigurationError(
            f'"{written}" is not a sha256', "Write 64 hexadecimal digits; `xgbpatch inspect` prints those of the base."
        )
    return digest
