"""The cache folder: documents, files and trees that only save work, so that no fault of it is fatal.

What is kept there is written to a temporary name, synced and renamed, and looked at again when it is used: a document
by the CRC of its gzip, a file and a tree by the SHA-256 of their content. What was cut off, emptied or changed is made
again, and what cannot be written (a Lambda's read-only disk, a full one) is not kept.

A tree is hashed whole. Sizes and dates would cost nothing, but a changed byte need not touch them; the hash of 130 MB
takes 0.1 to 0.4 s (`scripts/cache-check` measures it), once a build, which reads all of it anyway.
"""

from __future__ import annotations

import atexit
import gzip
import hashlib
import json
import os
import secrets
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from xgbpatch.util import atomic_write, locked_path

Document = TypeVar("Document")

_DAMAGE = (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError, AttributeError, RecursionError)
_FILES, _DIGEST = "files", "sha256"  # of a kept tree: its folder, and the digest beside it
_PART = ".part"


def read(path: Path | None, parse: Callable[[Any], Document]) -> Document | None:
    """What `parse` makes of the document at `path`; None where there is none that is whole, and without a path.

    `parse` must not trust what it is given: it raises `ValueError`, `TypeError`, `KeyError` or `AttributeError` for a
    document that is not of its kind.
    """
    if path is None:
        return None
    try:
        return parse(json.loads(gzip.decompress(path.read_bytes())))
    except _DAMAGE:
        return None


def write(path: Path | None, document: Any) -> None:
    """Keep `document` at `path` (`….json.gz`), whole or not at all; without a path, nothing."""
    if path is None:
        return
    content = json.dumps(document).encode()
    with suppress(OSError):
        atomic_write(path, gzip.compress(content, compresslevel=1, mtime=0))


def keep(path: Path, make: Callable[[Path], None], is_whole: Callable[[Path], bool]) -> Path:
    """Where the file or folder lies that `make` puts at the path which it is given.

    It is kept at `path` and made again unless `is_whole`. Where nothing can be kept, it lies in a folder that goes with
    this process. Two processes that make the same at once both succeed. Raises what `make` raises.
    """
    if _is_whole(path, is_whole):
        return path
    try:
        _make(path, make, is_whole)
        return path
    except (OSError, ImportError):  # read-only, full, or damaged where there are no locks; `make` has errors of its own
        path = _scratch() / path.parent.name / path.name
        if not _is_whole(path, is_whole):
            _make(path, make, is_whole)
        return path


def keep_file(path: Path, sha256: str, make: Callable[[Path], None]) -> Path:
    """`keep` for a file whose content has that SHA-256 (hexadecimal), which `make` has looked at."""
    return keep(path, make, lambda file: sha256_of(file) == sha256)


def keep_tree(path: Path, make: Callable[[Path], None]) -> Path:
    """`keep` for a folder, with a digest of all its files beside it that is compared at each use."""

    def make_with_digest(part: Path) -> None:
        part.mkdir()
        make(part / _FILES)
        (part / _DIGEST).write_text(_tree_digest(part / _FILES), encoding="ascii")

    def is_whole(folder: Path) -> bool:
        return (folder / _DIGEST).read_bytes() == _tree_digest(folder / _FILES).encode()

    return keep(path, make_with_digest, is_whole) / _FILES


def sha256_of(path: Path) -> str:
    """Hexadecimal; the file is never held in memory as a whole."""
    total = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            total.update(piece)
    return total.hexdigest()


def _tree_digest(root: Path) -> str:
    """Over path, execution right and content of every file."""
    total = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file():
            executable = int(bool(path.stat().st_mode & 0o100))
            total.update(f"{path.relative_to(root).as_posix()}\0{executable}\0{sha256_of(path)}\n".encode())
    return total.hexdigest()


def _is_whole(path: Path, is_whole: Callable[[Path], bool]) -> bool:
    try:
        return path.exists() and is_whole(path)
    except (OSError, ValueError):
        return False


def _make(path: Path, make: Callable[[Path], None], is_whole: Callable[[Path], bool]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part, damaged = (path.with_name(f".{secrets.token_hex(8)}{_PART}") for _ in range(2))
    try:
        make(part)
        for file in [part] if part.is_file() else [each for each in part.rglob("*") if each.is_file()]:
            with file.open("rb+") as stream:
                os.fsync(stream.fileno())
        try:
            part.replace(path)
        except OSError:  # a folder is there already: another run was quicker, or it is damaged
            with locked_path(path):  # so that nobody takes away what another has just put there
                if not _is_whole(path, is_whole):
                    path.rename(damaged)
                    part.replace(path)
    finally:
        for rest in (part, damaged):
            _remove(rest, ignore_errors=True)


@cache
def _scratch() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="xgbpatch-cache-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _remove(path: Path, ignore_errors: bool = False) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=ignore_errors)
    else:
        with suppress(OSError) if ignore_errors else suppress(FileNotFoundError):
            path.unlink()


# What is kept, for people: `xgbpatch cache`.


KINDS = {
    "facts": "what was found in bases",
    "layers": "the files of bases' layers, by name",
    "wheels": "downloaded packages",
    "packages": "packages, unpacked for images",
    "standin": "packages of stand-in bases",
    "xgboosts": "the xgboosts of other versions, for convert-model",
    "verified": "which images of the engine were built and verified here",
    "proven": "which published images were seen to hold what their labels say",
}
_LAST_BUILD = {"last-build": "what was built last, which `push` and `test-local` mean"}  # cannot be made again
_OTHER = "of the tests of a checkout, or of another version"


@dataclass(frozen=True)
class CacheFolder:
    """A folder of the cache: how many things it holds, and bytes."""

    folder: Path
    entries: int
    size: int

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def what(self) -> str:
        return {**KINDS, **_LAST_BUILD}.get(self.name, _OTHER)


def kinds(folder: Path) -> tuple[CacheFolder, ...]:
    """What is kept in the cache `folder`, largest first."""
    if not folder.is_dir():
        return ()
    kinds = (
        CacheFolder(each, sum(1 for _ in each.iterdir()), _size(each)) for each in folder.iterdir() if each.is_dir()
    )
    return tuple(sorted(kinds, key=lambda kind: (-kind.size, kind.name)))


def clear(kind: CacheFolder) -> bool:
    """Delete all that the kind's folder holds; False, and nothing deleted, where a running process uses it."""
    with _alone(kind.folder) as alone:
        if alone:
            for entry in kind.folder.iterdir():
                _remove(entry)  # the folder itself stays: it is what is locked
        return alone


@cache
def hold(folder: Path) -> None:
    """Keep `clear` away from `folder` until this process ends. Where there are no locks (Windows, NFS), it does not."""
    with suppress(OSError, ImportError):
        import fcntl

        folder.mkdir(parents=True, exist_ok=True)
        fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_SH)


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether nobody holds `folder`, and then nobody does until the end."""
    descriptor, alone = -1, True
    try:
        with suppress(OSError, ImportError):
            import fcntl

            descriptor = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                alone = False
        yield alone
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _size(folder: Path) -> int:
    """Bytes of all files below it; what goes meanwhile counts nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total
