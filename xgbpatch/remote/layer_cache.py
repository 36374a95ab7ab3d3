"""Layers' indexes by digest, in one file each: a layer is fetched once, because a digest never changes its content."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xgbpatch import atomically
from xgbpatch.manifest import Descriptor
from xgbpatch.progress import Progress
from xgbpatch.remote.blobs import Blobs
from xgbpatch.remote.layer_index import Entry, Kind, LayerIndex, index

_KINDS = {kind.value: kind for kind in Kind}  # a layer has tens of thousands of entries
FORMAT = 1  # of these files and of what is kept in them (`remote/kept.py`): raise it when either changes


def load(blobs: Blobs, descriptor: Descriptor, cache: Path | None, progress: Progress) -> LayerIndex:
    """The layer's index, from `cache` where it was read before. Raises as `layer_index.index` and `blobs`."""
    kept = cache / f"{descriptor.digest.removeprefix('sha256:')}-{FORMAT}.json.gz" if cache else None
    found = _read(kept) if kept else None
    if found is None:
        found = _fetch(blobs, descriptor, progress)
        if kept:
            _write(kept, found)
    return found


def _fetch(blobs: Blobs, descriptor: Descriptor, progress: Progress) -> LayerIndex:
    with blobs.opened(descriptor.digest) as pieces:
        return index(_counted(pieces, descriptor, progress), descriptor)


def _counted(pieces: Iterator[bytes], descriptor: Descriptor, progress: Progress) -> Iterator[bytes]:
    done = 0
    for piece in pieces:
        done += len(piece)
        progress.update(f"Reading layer {descriptor.digest[7:19]}", done, descriptor.size)
        yield piece


def _read(path: Path) -> LayerIndex | None:
    """What is kept at `path`; None where there is nothing, or nothing whole."""
    try:
        document = json.loads(gzip.decompress(path.read_bytes()))
        return LayerIndex(
            entries={
                name: Entry(_KINDS[kind], mode, size, link) for name, kind, mode, size, link in document["entries"]
            },
            whiteouts=frozenset(document["whiteouts"]),
            opaque=frozenset(document["opaque"]),
            contents={name: base64.b64decode(text) for name, text in document["contents"].items()},
        )
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, found: LayerIndex) -> None:
    document: dict[str, Any] = {
        "entries": [[name, *entry] for name, entry in found.entries.items()],
        "whiteouts": sorted(found.whiteouts),
        "opaque": sorted(found.opaque),
        "contents": {name: base64.b64encode(content).decode() for name, content in found.contents.items()},
    }
    atomically.keep(path, gzip.compress(json.dumps(document).encode(), compresslevel=1, mtime=0))
