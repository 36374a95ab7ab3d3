"""Parts of a resource over HTTP (RFC 9110, section 14)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from xgbpatch.errors import RegistryError
from xgbpatch.registry_exchange import number
from xgbpatch.registry_session import Stream

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


def stands(header: str) -> int:
    """How many bytes of an upload a registry has, by its `Range`. `0-0` is what distribution says of none."""
    found = _STANDS.fullmatch(header.strip())
    last = number(found[1]) if found else None
    return last + 1 if last else 0
