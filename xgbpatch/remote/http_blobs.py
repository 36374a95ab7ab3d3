"""Blobs of any registry, by the OCI distribution specification 1.1."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlencode

from xgbpatch.reference import ImageReference
from xgbpatch.registry_connection import host_of
from xgbpatch.registry_refusal import require
from xgbpatch.registry_session import RegistrySession, Request, address
from xgbpatch.remote.blobs import Upload
from xgbpatch.remote.http_upload import PIECE_BYTES, ChunkedUpload, UploadCalls, WholeUpload
from xgbpatch.remote.ranges import body_from, range_header
from xgbpatch.remote.resumption import continued


class HttpBlobs:
    """Blobs of the repository of `reference`. Raises nothing but `RegistryError`, and what asking for credentials does.

    Reading follows redirections to a store, and goes on by itself from the byte where a connection was cut.
    """

    def __init__(self, reference: ImageReference, session: RegistrySession) -> None:
        self.reference = reference
        self._session = session
        self._calls = UploadCalls(reference, session)

    def has(self, digest: str) -> bool:
        """A repository that is not there has nothing."""
        return self._calls.has(digest)

    @contextmanager
    def opened(self, digest: str, offset: int = 0) -> Iterator[Iterator[bytes]]:
        """The blob's bytes from `offset` on, in pieces of up to 256 KiB."""
        patience = self._session.patience()
        with closing(continued(lambda at: self.opened_once(f"blobs/{digest}", at), offset, patience)) as pieces:
            yield pieces

    @contextmanager
    def opened_once(self, path: str, offset: int) -> Iterator[Iterator[bytes]]:
        """What lies at `path` of the repository, or at a URL, from `offset` on; raises `Retriable` where it is cut."""
        request = Request(self.reference, "GET", path, range_header(offset))
        with self._session.opened(request) as stream:
            if offset and stream.answer.status == 416:  # cut behind its last byte: there is no more
                yield iter(())
            else:
                require(stream.answer, (200, 206), f'send a blob of "{self.reference.name}"')
                yield body_from(stream, offset)

    def mount(self, digest: str, source: ImageReference) -> bool:
        """Within one registry only. One that begins an upload instead has it cancelled."""
        if len({host_of(f"https://{address(place)[0]}") for place in (source, self.reference)}) > 1:
            return False
        query = urlencode({"mount": digest, "from": address(source)[1]}, safe="/:")
        answer = self._session.send(Request(self.reference, "POST", f"blobs/uploads/?{query}"))
        if answer.status == 202 and answer.location:
            self._calls.abandon(answer.location)
        require(answer, (201, 202, 400, 401, 403, 404, 405), f'mount a blob into "{self.reference.name}"')
        return answer.status == 201

    def begin(self, size: int) -> Upload:
        """In one request where it fits into a piece, else in pieces that the registry acknowledges one by one."""
        return WholeUpload(self._calls) if size <= PIECE_BYTES else ChunkedUpload(self._calls)
