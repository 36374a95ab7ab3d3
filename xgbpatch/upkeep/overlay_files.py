"""What our own layers of a published image hold, read from its registry and held to every digest on the way."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, cast

from xgbpatch import layout
from xgbpatch.errors import ContractError
from xgbpatch.manifest import Descriptor
from xgbpatch.patch import files_digest_of
from xgbpatch.remote import layer_index
from xgbpatch.remote.blobs import Blobs
from xgbpatch.remote.unpacked import Unpacked

_PARENTS = frozenset({"/", "/.", "/opt"})
_PIECE = 1 << 16


@dataclass(frozen=True, order=True)
class OverlayFile:
    """A file in a layer of ours, by its absolute path and the sha256 of its content."""

    target: str
    executable: bool
    sha256: str


@dataclass(frozen=True)
class OwnLayer:
    """A layer of ours: its blob, and the digest of its uncompressed bytes as the configuration tells it."""

    blob: Descriptor
    diff_id: str


def read(blobs: Blobs, layers: Sequence[OwnLayer]) -> tuple[OverlayFile, ...]:
    """The files of `layers`, sorted by target; a later layer wins. Nothing is kept in memory or on disk but the list.

    Raises `ContractError` where a layer is not what its configuration says, or holds anything but files below
    `/opt/xgbpatch`; `RegistryError` and `BaseImageError` where its bytes are wrong.
    """
    found: dict[str, OverlayFile] = {}
    for layer in layers:
        found.update({file.target: file for file in _files(blobs, layer)})
    return tuple(sorted(found.values()))


def digest(files: Sequence[OverlayFile]) -> str:
    """`sha256:…`, what the label `io.xgbpatch.files-digest` says of the same files."""
    return f"sha256:{files_digest_of((file.target, file.executable, file.sha256) for file in files)}"


def _files(blobs: Blobs, layer: OwnLayer) -> Iterator[OverlayFile]:
    with blobs.opened(layer.blob.digest) as pieces:
        unpacked = Unpacked(pieces, layer.blob)
        plain = _Hashed(unpacked)
        try:
            unpacked.limit = 2 * layer_index.LARGEST_HEADER
            with layer_index.opened(cast("IO[bytes]", plain)) as archive:
                for member in layer_index.members(archive, unpacked):
                    yield from _member(archive, member, layer)
        except (EOFError, tarfile.TarError) as error:
            raise ContractError(f'layer "{layer.blob.digest}" is no tar: {error}') from error
        while plain.read(_PIECE):
            pass
        unpacked.finish()
    if plain.digest != layer.diff_id:
        raise ContractError(
            f'layer "{layer.blob.digest}" unpacks to "{plain.digest}", and the configuration says "{layer.diff_id}"'
        )


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo, layer: OwnLayer) -> Iterator[OverlayFile]:
    path = "/" + member.name.removeprefix("./").rstrip("/")
    inside = path == layout.ROOT or path.startswith(f"{layout.ROOT}/")
    if member.isdir() and (inside or path in _PARENTS):
        return
    content = archive.extractfile(member) if member.isreg() and inside and ".." not in path.split("/") else None
    if content is None:
        raise ContractError(
            f'layer "{layer.blob.digest}" holds "{path}", which xgbpatch did not put there',
            "The image was changed after xgbpatch made it: rebuild it from its spec.",
        )
    total = hashlib.sha256()
    while piece := content.read(_PIECE):
        total.update(piece)
    yield OverlayFile(path, bool(member.mode & 0o100), total.hexdigest())


class _Hashed:
    """A layer's tar, hashed as it is read."""

    def __init__(self, source: Unpacked) -> None:
        self._source = source
        self._sha256 = hashlib.sha256()

    @property
    def digest(self) -> str:
        return f"sha256:{self._sha256.hexdigest()}"

    def read(self, size: int) -> bytes:
        """At most `size` bytes."""
        piece = self._source.read(size)
        self._sha256.update(piece)
        return piece
