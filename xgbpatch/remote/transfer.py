"""Blobs on their way from one repository to another, or from here into one: in parallel, verified, in little memory.

Nothing lies in between: no disk is touched, and no more than a piece for each worker is held.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import IO

from xgbpatch.errors import RegistryError
from xgbpatch.manifest import Descriptor
from xgbpatch.progress import Progress
from xgbpatch.reference import ImageReference
from xgbpatch.registry_patience import Patience
from xgbpatch.remote.blobs import Blobs, Traffic, UploadLost
from xgbpatch.remote.workers import Watch, run

_READ_BYTES = 1 << 18
_FOREIGN = ("foreign", "nondistributable")

Pause = Callable[[float], None]


@dataclass(frozen=True)
class _Way:
    """A blob and its target; `opened` gives its bytes from the first one on, as often as it is called.

    `pause` is how to wait where the upload is lost.
    """

    target: Blobs
    blob: Descriptor
    opened: Callable[[], AbstractContextManager[Iterator[bytes]]]
    pause: Pause


def copy(
    source: Blobs, target: Blobs, blobs: Sequence[Descriptor], progress: Progress, pause: Pause = time.sleep
) -> Traffic:
    """Bring `blobs` into the target: what it has is left, what its registry has is mounted, the rest is streamed.

    A blob is visible when it is whole and its digest is right, else never; after an error the finished ones stay, so
    that the next run goes on from there. Raises `RegistryError` or `AwsError`, the first that any worker met.
    """
    unique = {blob.digest: blob for blob in blobs}
    for blob in unique.values():
        _require_stored(blob)
    watch = Watch(f'copying to "{target.reference.name}"', sum(blob.size for blob in unique.values()), progress)
    longest_first = sorted(unique.values(), key=lambda blob: blob.size, reverse=True)  # which ends the soonest
    ways = [_Way(target, blob, partial(_received, source, blob, watch), pause) for blob in longest_first]
    run([partial(_bring, source.reference, way, watch) for way in ways], watch)
    return watch.traffic


def put(
    target: Blobs, content: IO[bytes], descriptor: Descriptor, progress: Progress, pause: Pause = time.sleep
) -> Traffic:
    """Upload a blob of our own, which begins where `content` stands; it must be able to seek."""
    if target.has(descriptor.digest):
        return Traffic(present=1)
    watch = Watch(f'sending to "{target.reference.name}"', descriptor.size, progress)
    start = content.tell()

    @contextmanager
    def opened() -> Iterator[Iterator[bytes]]:
        content.seek(start)
        yield iter(partial(content.read, _READ_BYTES), b"")

    _send(_Way(target, descriptor, opened, pause), watch)
    return watch.traffic


def _require_stored(blob: Descriptor) -> None:
    if any(word in blob.media_type for word in _FOREIGN):
        raise RegistryError(
            f'layer "{blob.digest}" is "{blob.media_type}": it lies outside of registries and cannot be copied',
            "Push the image with its foreign layers into a registry of your own first.",
        )


def _bring(source: ImageReference, way: _Way, watch: Watch) -> None:
    watch.reach(way.blob.digest, 0)
    if way.target.has(way.blob.digest):
        watch.count(Traffic(present=1))
    elif way.target.mount(way.blob.digest, source):
        watch.count(Traffic(mounted=1))
    else:
        _send(way, watch)
    watch.reach(way.blob.digest, way.blob.size)


@contextmanager
def _received(source: Blobs, blob: Descriptor, watch: Watch) -> Iterator[Iterator[bytes]]:
    def counted(pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            watch.count(Traffic(received=len(piece)))
            yield piece

    with source.opened(blob.digest) as pieces:
        yield counted(pieces)


def _send(way: _Way, watch: Watch) -> None:
    """From the first byte again, some times, where the registry has lost the upload; it may have finished it late."""
    patience = Patience(way.pause)
    while True:
        try:
            return _send_once(way, watch)
        except UploadLost:
            if not patience.wait():
                raise
            if way.target.has(way.blob.digest):
                return None


def _send_once(way: _Way, watch: Watch) -> None:
    upload = way.target.begin(way.blob.size)
    with watch.underway(upload), way.opened() as received:
        for piece in _regrouped(_verified(received, way.blob, watch), upload.piece_bytes):
            upload.send(piece)
            watch.count(Traffic(sent=len(piece)))
            del piece  # before the next one is gathered
        upload.finish(way.blob.digest)


def _verified(pieces: Iterator[bytes], blob: Descriptor, watch: Watch) -> Iterator[bytes]:
    """The same pieces; raises `RegistryError` where they are too many, or at their end where they are not the blob."""
    hashed, size = hashlib.sha256(), 0
    for piece in pieces:
        hashed.update(piece)
        size += len(piece)
        if size > blob.size:
            break
        watch.reach(blob.digest, size)
        yield piece
    found = f"sha256:{hashed.hexdigest()}"
    if (found, size) != (blob.digest, blob.size):
        raise RegistryError(
            f'wrong bytes came for blob "{blob.digest}" of {blob.size} bytes: {size} with digest "{found}"',
            "Nothing was stored. Try again; a proxy or a damaged registry stands between.",
        )


def _regrouped(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    """In pieces of `size`, a shorter one at the end."""
    parts: list[bytes] = []
    held = 0
    for piece in pieces:
        rest = piece
        while held + len(rest) >= size:
            parts.append(rest[: size - held])
            rest = rest[size - held :]
            whole, held = b"".join(parts), 0
            parts.clear()
            yield whole
            del whole  # megabytes that need not be there twice
        parts.append(rest)
        held += len(rest)
    if held:
        yield b"".join(parts)
