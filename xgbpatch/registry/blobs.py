"""What a store of blobs can do, and the store of any registry, by the OCI distribution specification 1.1.

Downloads are by range (RFC 9110, section 14), and go on where they were cut; large uploads are sent in pieces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlencode

from xgbpatch.errors import RegistryError, XgbpatchError
from xgbpatch.reference import ImageReference
from xgbpatch.registry.client import require_status
from xgbpatch.registry.http import (
    ATTEMPTS,
    Busy,
    RegistryAnswer,
    RegistryRequest,
    Retriable,
    RetryPolicy,
    Stream,
    Unanswered,
    is_number,
    number,
    wrong_header,
)
from xgbpatch.registry.transport import RegistrySession, address, host_of

PIECE_BYTES = 8 << 20
_LARGEST_PIECE = 16 << 20  # every worker holds one
_NO_PATCH = frozenset({405, 415, 501})
_ENGINE = f"Push with an engine instead: only blobs above {PIECE_BYTES >> 20} MiB are sent in pieces."
_BYTES = {"Content-Type": "application/octet-stream"}


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


def body_from(stream: Stream, offset: int) -> Iterator[bytes]:
    """The bytes from `offset` on of an answer to a request for them, also where the server sends all of them."""
    before = offset  # bytes that are passed over
    if stream.answer.status != 200:
        part = _CONTENT_RANGE.match(stream.answer.headers.get("Content-Range", ""))
        if not part or number(part[1]) != offset:
            raise RegistryError(
                f'registry "{stream.answer.host}" sent another part of a blob than the one from byte {offset} on'
            )
        before = 0
    for piece in stream.pieces:
        if before < len(piece):
            yield piece[before:]
        before = max(0, before - len(piece))


def received_bytes(header: str) -> int:
    """How many bytes of an upload a registry has, by its `Range`. `0-0` is what distribution says of none."""
    match = _STANDS.fullmatch(header.strip())
    last = number(match[1]) if match else None
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


# Blobs of any registry over its HTTP API, with uploads in pieces.


class WholeUpload:
    """A blob that is one piece: begun anew for each try, for a registry may keep a part of what was cut."""

    piece_bytes = PIECE_BYTES

    def __init__(self, blobs: HttpBlobs) -> None:
        self._blobs = blobs
        self._content = b""

    def send(self, piece: bytes) -> None:
        """Kept until the digest is known."""
        self._content += piece

    def finish(self, digest: str) -> None:
        """All in one request; nothing is left of a try that fails."""
        patience = self._blobs.session.patience()
        while True:
            location = self._blobs.begin_upload().location
            try:
                return self._blobs.finish_upload(location, digest, self._content)
            except Retriable as error:
                if self._blobs.has(digest):  # the answer alone was lost
                    return None
                self._blobs.abandon_upload(location)
                if not patience.wait(error.asked_pause):
                    raise
            except BaseException:
                self._blobs.abandon_upload(location)
                raise

    def cancel(self) -> None:
        """Nothing was sent."""


class ChunkedUpload:
    """A blob in pieces. After a failure the registry says how many bytes it has, and the rest follows."""

    def __init__(self, blobs: HttpBlobs) -> None:
        begun = blobs.begin_upload()
        self._blobs = blobs
        self._location = begun.location
        self._stands = 0
        header = begun.headers.get("OCI-Chunk-Min-Length", "")
        least = float(header) if is_number(header) else 0.0
        if least > _LARGEST_PIECE:
            self.cancel()
            raise RegistryError(
                f'the registry of "{self._blobs.reference.name}" takes no pieces below {least / (1 << 20):.0f} MiB',
                _ENGINE,
            )
        self.piece_bytes = max(PIECE_BYTES, int(least))

    def send(self, piece: bytes) -> None:
        """Append `piece`, whatever it takes."""
        start, patience = self._stands, self._blobs.session.patience()
        goal = start + len(piece)
        while self._stands < goal:
            before = self._stands
            try:
                answer = self._blobs.append_piece(self._location, before, piece[before - start :])
                self._move(answer, goal, answer.headers.get("Range", f"0-{goal - 1}"))
                if self._stands == before and not patience.wait():
                    raise self._lost()
            except Retriable as error:
                if not patience.wait(error.asked_pause):
                    raise
                answer = self._blobs.upload_status(self._location)
                self._move(answer, goal, answer.headers.get("Range", ""))
            if self._stands > before:
                patience.progressed()

    def _move(self, answer: RegistryAnswer, goal: int, position: str) -> None:
        now = received_bytes(position)
        if not self._stands <= now <= goal:
            raise self._lost()
        self._stands, self._location = now, answer.location or self._location

    def _lost(self) -> UploadLost:
        name = self._blobs.reference.name
        return UploadLost(f'the registry has lost a part of an upload into "{name}"', "Try again.")

    def finish(self, digest: str) -> None:
        """Where the answer is lost, the blob itself tells."""
        patience = self._blobs.session.patience()
        while True:
            try:
                return self._blobs.finish_upload(self._location, digest)
            except (Retriable, UploadLost) as error:
                if self._blobs.has(digest):
                    return None
                if isinstance(error, UploadLost) or not patience.wait(error.asked_pause):
                    raise

    def cancel(self) -> None:
        """At the registry too."""
        self._blobs.abandon_upload(self._location)


# Blobs of any registry, by the OCI distribution specification 1.1.


class HttpBlobs:
    """Blobs of the repository of `reference`. Raises nothing but `RegistryError`, and what asking for credentials does.

    Reading follows redirections to a store, and goes on by itself from the byte where a connection was cut.
    """

    def __init__(self, reference: ImageReference, session: RegistrySession) -> None:
        self.reference = reference
        self.session = session

    def has(self, digest: str) -> bool:
        """A repository that is not there has nothing."""
        answer = self.session.send(RegistryRequest(self.reference, "HEAD", f"blobs/{digest}"))
        require_status(answer, (200, 404), f'look up blob "{digest}" of "{self.reference.name}"')
        return answer.status == 200

    @contextmanager
    def opened(self, digest: str, offset: int = 0) -> Iterator[Iterator[bytes]]:
        """The blob's bytes from `offset` on, in pieces of up to 256 KiB."""
        patience = self.session.patience()
        with closing(continued(lambda at: self.opened_once(f"blobs/{digest}", at), offset, patience)) as pieces:
            yield pieces

    @contextmanager
    def opened_once(self, path: str, offset: int) -> Iterator[Iterator[bytes]]:
        """What lies at `path` of the repository, or at a URL, from `offset` on; raises `Retriable` where it is cut."""
        # the bytes as they are: an offset into a compressed answer would mean something else
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={offset}-"} if offset else {})}
        with self.session.opened(RegistryRequest(self.reference, "GET", path, headers)) as stream:
            if offset and stream.answer.status == 416:  # cut behind its last byte: there is no more
                yield iter(())
            else:
                require_status(stream.answer, (200, 206), f'send a blob of "{self.reference.name}"')
                yield body_from(stream, offset)

    def mount(self, digest: str, source: ImageReference) -> bool:
        """Within one registry only. One that begins an upload instead has it cancelled."""
        if len({host_of(f"https://{address(place)[0]}") for place in (source, self.reference)}) > 1:
            return False
        query = urlencode({"mount": digest, "from": address(source)[1]}, safe="/:")
        answer = self.session.send(RegistryRequest(self.reference, "POST", f"blobs/uploads/?{query}"))
        if answer.status == 202 and answer.location:
            self.abandon_upload(answer.location)
        require_status(answer, (201, 202, 400, 401, 403, 404, 405), f'mount a blob into "{self.reference.name}"')
        return answer.status == 201

    def begin(self, size: int) -> Upload:
        """In one request where it fits into a piece, else in pieces that the registry acknowledges one by one."""
        return WholeUpload(self) if size <= PIECE_BYTES else ChunkedUpload(self)

    # The single calls that an upload is made of.

    def begin_upload(self) -> RegistryAnswer:
        """The answer has the new upload's location."""
        answer = self.session.send(RegistryRequest(self.reference, "POST", "blobs/uploads/"))
        require_status(answer, (202,), f'begin an upload into "{self.reference.name}"')
        if not answer.location:
            raise wrong_header(answer, "Location")
        return answer

    def append_piece(self, location: str, offset: int, piece: bytes) -> RegistryAnswer:
        """Append once; raises `Retriable` where the upload may have become longer or not, or `UploadLost`."""
        headers = {**_BYTES, "Content-Range": f"{offset}-{offset + len(piece) - 1}"}
        answer = self.session.send_once(RegistryRequest(self.reference, "PATCH", location, headers, piece))
        if answer.status == 416:
            raise Busy("the registry has another part of the upload than was thought", "", None)
        if answer.status in (404, 410):
            raise UploadLost(
                f'the registry knows no upload into "{self.reference.name}" any more: HTTP {answer.status}',
                f"Try again; or the registry takes no blobs in pieces at all. {_ENGINE}",
            )
        if offset == 0 and answer.status in _NO_PATCH:
            raise RegistryError(
                f'the registry of "{self.reference.name}" takes no blobs in pieces: HTTP {answer.status}',
                _ENGINE,
            )
        require_status(answer, (201, 202, 204), f'take a piece of a blob of "{self.reference.name}"')
        return answer

    def upload_status(self, location: str) -> RegistryAnswer:
        """Of an upload in progress; raises `UploadLost` where the registry has forgotten it."""
        answer = self.session.send(RegistryRequest(self.reference, "GET", location))
        if answer.status in (400, 404, 405, 410, 416):
            raise UploadLost(f'the registry has lost an upload into "{self.reference.name}"', "Try again.")
        require_status(answer, (200, 202, 204), f'continue an upload into "{self.reference.name}"')
        return answer

    def finish_upload(self, location: str, digest: str, body: bytes = b"") -> None:
        """Finish an upload with `body` as its last bytes, once; raises `Retriable` where it may be finished or not."""
        path = f"{location}{'&' if '?' in location else '?'}digest={digest}"
        slow = not body  # gigabytes came before, which many registries hash and move now
        answer = self.session.send_once(RegistryRequest(self.reference, "PUT", path, _BYTES, body, slow=slow))
        if answer.status == 404:
            raise UploadLost(f'the registry has lost an upload into "{self.reference.name}"', "Try again.")
        require_status(answer, (200, 201, 202, 204), f'finish blob "{digest}" of "{self.reference.name}"')

    def abandon_upload(self, location: str) -> None:
        """Give an upload up; a registry that cannot collects it by itself, some day."""
        with suppress(XgbpatchError):
            self.session.send(RegistryRequest(self.reference, "DELETE", location, hasty=True))
