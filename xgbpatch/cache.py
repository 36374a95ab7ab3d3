"""JSON documents in the cache folder. They only save work, so no fault of that folder or of a file in it is fatal.

A file may be cut off, empty, of an older xgbpatch, or edited; a folder may be read-only (a Lambda's) or full. What
cannot be read is found out again, and what cannot be written is not kept.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from xgbpatch.util import atomic_write

Document = TypeVar("Document")

_PACKED = ".gz"
_DAMAGE = (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError, AttributeError, RecursionError)


def read(path: Path | None, parse: Callable[[Any], Document]) -> Document | None:
    """What `parse` makes of the document at `path`; None where there is none that is whole, and without a path.

    `parse` must not trust what it is given: it raises `ValueError`, `TypeError`, `KeyError` or `AttributeError` for a
    document that is not of its kind.
    """
    if path is None:
        return None
    try:
        content = path.read_bytes()
        return parse(json.loads(gzip.decompress(content) if path.suffix == _PACKED else content))
    except _DAMAGE:
        return None


def write(path: Path | None, document: Any) -> None:
    """Keep `document` at `path`, whole or not at all, packed where its name ends in `.gz`; without a path, nothing."""
    if path is None:
        return
    content = json.dumps(document).encode()
    with suppress(OSError):
        atomic_write(path, gzip.compress(content, compresslevel=1, mtime=0) if path.suffix == _PACKED else content)
