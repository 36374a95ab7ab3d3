"""What a store of blobs can do, and downloads by range (RFC 9110, section 14) that go on where they were cut."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from xgbpatch.errors import RegistryError
from xgbpatch.reference import ImageReference
from xgbpatch.registry.http import ATTEMPTS, Retriable, RetryPolicy, Stream, Unanswered, number


class UploadLost(RegistryError):
    """The registry no longer knows an upload, or has lost a part of it: it must be begun again from the first byte."""


@dataclass(frozen=True)
class Traffic:
    """What crossed the network: bytes, and blobs that had not to be sent (`present` already, or `mounted`)."""

    sent: int = 0
    received: int = 0
    present: int = 0
    mounted: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(
            self.sent + other.sent, self.received + other.received,
            self.present + other.present, self.mounted + other.mounted,
        )  # fmt: skip


class Upload(Protocol):
    """An upload that was begun. Pieces arrive in order; nothing is visible before `finish`."""

    @property
    def piece_bytes(self) -> int:
        """How large every piece but the last one must be."""
        ...

    def send(self, piece: bytes) -> None:
        """Append `piece`; tries again by itself, from where the registry says it stands. May raise `UploadLost`."""
        ...

    def finish(self, digest: str) -> None:
        """Make the blob visible under `digest`, which the registry verifies. May raise `UploadLost`."""
        ...

    def cancel(self) -> None:
        """Give the upload up; never raises."""
        ...


class BlobStore(Protocol):
    """One repository's blobs. Every method raises nothing but `RegistryError` and `AwsError`."""

    reference: ImageReference

    def has(self, digest: str) -> bool: ...

    def opened(self, digest: str, offset: int = 0) -> AbstractContextManager[Iterator[bytes]]:
        """The blob's bytes from `offset` on, in pieces of any size. Not verified: the reader knows the digest."""
        ...

    def mount(self, digest: str, source: ImageReference) -> bool:
        """Take the blob over from another repository of the same registry; False where the registry would not."""
        ...

    def begin(self, size: int) -> Upload:
        """Begin to upload a blob of `size` bytes."""
        ...


# Parts of a resource over HTTP (RFC 9110, section 14).


_CONTENT_RANGE = re.compile(r"bytes (\d+)-")
_STANDS = re.compile(r"(?:bytes=)?0-(\d+)")


def range_header(offset: int) -> Mapping[str, str]:
    """For all from `offset` on, as the bytes they are: offsets into a compressed answer would mean something else."""
    return {"Accept-Encoding": "identity", **({"Range": f"bytes={offset}-"} if offset else {})}


def body_from(stream: Stream, offset: int) -> Iterator[bytes]:
    """The bytes from `offset` on of an answer to `range_header(offset)`, also where the server sends all of them."""
    if stream.answer.status == 200:
        return _skipped(stream.pieces, offset)
    found = _CONTENT_RANGE.match(stream.answer.headers.get("Content-Range", ""))
    if not found or number(found[1]) != offset:
        raise RegistryError(
            f'registry "{stream.answer.host}" sent another part of a blob than the one from byte {offset} on'
        )
    return stream.pieces


def _skipped(pieces: Iterator[bytes], count: int) -> Iterator[bytes]:
    for piece in pieces:
        if count < len(piece):
            yield piece[count:]
        count = max(0, count - len(piece))


def received_bytes(header: str) -> int:
    """How many bytes of an upload a registry has, by its `Range`. `0-0` is what distribution says of none."""
    found = _STANDS.fullmatch(header.strip())
    last = number(found[1]) if found else None
    return last + 1 if last else 0


# A download that goes on where it was cut.


Opened = Callable[[int], AbstractContextManager[Iterator[bytes]]]


def continued(opened: Opened, offset: int, patience: RetryPolicy) -> Generator[bytes, None, None]:
    """All bytes from `offset` on, asking `opened` anew from the first missing byte whenever the connection breaks.

    Raises `RegistryError` when nothing at all came several times in a row.
    """
    while True:
        try:
            with opened(offset) as pieces:
                for piece in pieces:
                    offset += len(piece)
                    patience.progressed()
                    yield piece
            return
        except Retriable as error:
            if not patience.wait(error.asked_pause):
                raise (error.after(ATTEMPTS) if isinstance(error, Unanswered) else error) from None
