"""Layers by hand: tars from a few words, their compressed blobs, and a repository that holds them in memory."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from xgbpatch.oci.layer_index import LayerIndex, index_layer
from xgbpatch.oci.manifest import DOCKER_LAYER, Descriptor
from xgbpatch.reference import ImageReference


@dataclass(frozen=True)
class Link:
    """A symbolic link, or a hard one."""

    target: str
    hard: bool = False


Content = bytes | Link | None  # None: a folder

WHITEOUT = b""


def tar_of(members: Sequence[tuple[str, Content]], mode: int = 0o644, mtime: int = 0) -> bytes:
    """A tar with these members in that order; executable where the name lies in a `bin`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.mtime = mtime
            member.mode = 0o755 if "bin/" in name or content is None else mode
            if content is None:
                member.type = tarfile.DIRTYPE
            elif isinstance(content, Link):
                member.type = tarfile.LNKTYPE if content.hard else tarfile.SYMTYPE
                member.linkname = content.target
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def described(blob: bytes) -> Descriptor:
    return Descriptor(f"sha256:{hashlib.sha256(blob).hexdigest()}", DOCKER_LAYER, len(blob))


def indexed(*members: tuple[str, Content]) -> LayerIndex:
    """The index of a layer with these members."""
    return index_of(gzip.compress(tar_of(members)))


def index_of(blob: bytes, piece: int = 1000) -> LayerIndex:
    return index_layer(pieces_of(blob, piece), described(blob))


def pieces_of(blob: bytes, piece: int = 1000) -> Iterator[bytes]:
    return (blob[start : start + piece] for start in range(0, len(blob), piece))


@dataclass
class Shelf:
    """The blobs of a repository, and which were asked for."""

    blobs: Mapping[str, bytes]
    reference: ImageReference = field(default_factory=lambda: ImageReference.parse("registry.example/base:1"))
    asked: list[str] = field(default_factory=list)

    @contextmanager
    def opened(self, digest: str, offset: int = 0) -> Iterator[Iterator[bytes]]:
        self.asked.append(digest)
        yield pieces_of(self.blobs[digest][offset:], 1 << 16)

    def has(self, digest: str) -> bool:
        return digest in self.blobs
