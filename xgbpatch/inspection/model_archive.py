"""What a model folder or its `model.tar.gz` holds: models, and what the feature `training` left beside them."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from xgbpatch.errors import ConfigurationError

HIDDEN = (
    ".xgbpatch.zip"  # where a base's loaders pass over hidden files; the same names as in the overlay's model/folder.py
)
FOLDER = "xgbpatch"  # elsewhere, in older artefacts, and what a person put there; it counts first
_GZIP = b"\x1f\x8b"
_MOST_BYTES = 2**28  # of one file that is read, and of a header
# What tarfile, zipfile and the decompressors raise of bytes that are no archive.
_BROKEN = (
    gzip.BadGzipFile, tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, ArithmeticError,
    RuntimeError, MemoryError, RecursionError, KeyError,
)  # fmt: skip


@dataclass(frozen=True)
class ModelArchive:
    """`models`: bytes of each file at the top that is not hidden; `beside`: the files of the feature `training`."""

    models: Mapping[str, int]
    beside: Mapping[str, bytes]

    def document(self, name: str, kind: type) -> Any:
        """The JSON file of that name, a `kind`; None where there is none; raises `ConfigurationError`."""
        content = self.beside.get(name)
        if content is None:
            return None
        try:
            document = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(f'"{name}" of the model is no JSON: {error}') from error
        if not isinstance(document, kind):
            raise ConfigurationError(f'"{name}" of the model is no JSON {kind.__name__}')
        return document


def read(path: Path) -> ModelArchive:
    """The archive or folder at `path`; raises `ConfigurationError` where it is neither, or damaged."""
    if not path.exists():
        raise ConfigurationError(f'there is no file "{path}"')
    try:
        sizes, contents = _folder(path) if path.is_dir() else _archive(path)
        hidden = _unzipped(contents.get(HIDDEN, b""))
    except _BROKEN as error:
        raise ConfigurationError(f'"{path}" is no model archive, or damaged: {error}') from error
    beside = {name.removeprefix(f"{FOLDER}/"): content for name, content in contents.items() if name != HIDDEN}
    models = {name: size for name, size in sorted(sizes.items()) if "/" not in name and not name.startswith(".")}
    return ModelArchive(models, {**hidden, **beside})


def _folder(path: Path) -> tuple[dict[str, int], dict[str, bytes]]:
    """(size of each file, content of ours)"""
    files = [file for file in (*path.iterdir(), *path.glob(f"{FOLDER}/*")) if file.is_file()]
    names = {file.relative_to(path).as_posix(): file for file in files}
    return (
        {name: file.stat().st_size for name, file in names.items()},
        {name: _bounded(file.open("rb"), file.stat().st_size) for name, file in names.items() if _is_ours(name)},
    )


def _archive(path: Path) -> tuple[dict[str, int], dict[str, bytes]]:
    """As `_folder`. What a member announces is looked for and not believed: the stream is as long as it is."""
    sizes, contents = {}, {}
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
        file.seek(0)
        unpacked: Any = gzip.GzipFile(fileobj=file) if packed else file
        with tarfile.TarFile(fileobj=_Bounded(unpacked)) as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                content = archive.extractfile(member) if member.isreg() else None
                if content is not None:
                    sizes[name] = member.size
                    if _is_ours(name):
                        contents[name] = _bounded(content, member.size)
    return sizes, contents


def _is_ours(name: str) -> bool:
    return name == HIDDEN or (name.startswith(f"{FOLDER}/") and name.count("/") == 1)


def _unzipped(content: bytes) -> dict[str, bytes]:
    if not content:
        return {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > _MOST_BYTES:
            raise ValueError(f"{HIDDEN} holds more than {_MOST_BYTES} bytes")
        return {member.filename: archive.read(member) for member in members}


def _bounded(stream: IO[bytes], size: int) -> bytes:
    with stream:
        if size > _MOST_BYTES:
            raise ValueError(f"a file of {size} bytes is larger than the feature training writes")
        return stream.read(size)


class _Bounded(io.RawIOBase):
    """A stream of which nobody reads more at once than `_MOST_BYTES`: headers of a tar announce their own length."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MOST_BYTES:
            raise ValueError(f"a header of {size} bytes")
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._stream.seek(offset, whence)
        except OSError as error:  # further than a file of this system can be
            raise ValueError(f"a member at {offset}") from error

    def tell(self) -> int:
        return self._stream.tell()
