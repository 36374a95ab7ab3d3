"""The blobs of one repository, whichever way its registry is spoken to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from xgbpatch.errors import RegistryError
from xgbpatch.reference import ImageReference


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


class Blobs(Protocol):
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
