"""What the engine streams: the records of a build, a pull or a push, and the output of a command in a container."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import requests

from xgbpatch.errors import BuildError, RegistryError
from xgbpatch.progress import Progress

_LABEL_STEP = re.compile(r"Step \d+/\d+ : LABEL ")
_FRAME_HEAD = 8  # bytes: which stream, three zeros, the length


# The engine reports failures inside a stream that HTTP already called a success: this reads it to the end.


def drain(
    stream: Iterable[Mapping[str, Any]], progress: Progress, failure: type[RegistryError | BuildError], what: str
) -> dict[str, Any]:
    """Consume a decoded build, pull or push stream; returns the merged `aux` records.

    Raises `failure`, `what` followed by the engine's words, on the first `error` (docker-py issues 1772, 2555, 3050).
    """
    aux: dict[str, Any] = {}
    for record in stream:
        if "error" in record:
            words = str(record.get("errorDetail", {}).get("message") or record["error"]).strip()
            raise failure(f"{what}: {words}")
        aux.update(record.get("aux") or {})
        text = str(record.get("stream", "")).strip()
        if text and not _LABEL_STEP.match(text):  # kilobytes that only a program reads
            progress.line(text)
        detail = record.get("progressDetail") or {}
        if record.get("id") and detail.get("total"):
            progress.update(f"{record['status']} {record['id']}", int(detail.get("current", 0)), int(detail["total"]))
    return aux


# docker-py reads a command's output past the buffer in which it read the response's head: what came together with the
# head is lost (its issues 2042 and 3332); on a busy machine that is all of it. A plain response is read whole.


def output_of(api: Any, execution: str) -> bytes:
    """Start the `execution` that `exec_create` of docker-py's `api` made; returns what it writes until it ends."""
    import docker.errors

    response = api.post(
        f"{api.base_url}/v{api.api_version}/exec/{execution}/start",
        json={"Detach": False, "Tty": False}, timeout=api.timeout,
    )  # fmt: skip
    try:
        response.raise_for_status()
    except requests.exceptions.HTTPError as error:
        docker.errors.create_api_error_from_http_exception(error)
    return b"".join(_frames(response.content))


def _frames(stream: bytes) -> Iterator[bytes]:
    """Standard output and standard error as they came, without the head of each piece."""
    position = 0
    while position + _FRAME_HEAD <= len(stream):
        begin = position + _FRAME_HEAD
        position = begin + int.from_bytes(stream[begin - 4 : begin], "big")
        yield stream[begin:position]
