"""The engine reports failures inside a stream that HTTP already called a success: this reads it to the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from xgbpatch.progress import Progress


class StreamFailure(Exception):
    """An `error` record found in the stream (docker-py issues 1772, 2555, 3050)."""


def drain(stream: Iterable[Mapping[str, Any]], progress: Progress) -> dict[str, Any]:
    """Consume a decoded build, pull or push stream; returns the merged `aux` records; raises on the first `error`."""
    aux: dict[str, Any] = {}
    for record in stream:
        if "error" in record:
            raise StreamFailure(str(record.get("errorDetail", {}).get("message") or record["error"]).strip())
        aux.update(record.get("aux") or {})
        _tell(record, progress)
    return aux


def _tell(record: Mapping[str, Any], progress: Progress) -> None:
    text = str(record.get("stream", "")).strip()
    if text:
        progress.line(text)
    detail = record.get("progressDetail") or {}
    if record.get("id") and detail.get("total"):
        progress.update(f"{record['status']} {record['id']}", int(detail.get("current", 0)), int(detail["total"]))
