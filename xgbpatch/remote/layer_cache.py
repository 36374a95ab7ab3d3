"""Layers' indexes by digest, in one file each: a layer is fetched once, because a digest never changes its content."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xgbpatch import cache
from xgbpatch.manifest import Descriptor
from xgbpatch.progress import Progress
from xgbpatch.remote.blobs import Blobs
from xgbpatch.remote.layer_index import Entry, Kind, LayerIndex, index

_KINDS = {kind.value: kind for kind in Kind}  # a layer has tens of thousands of entries
FORMAT = 1  # of these files and of what is kept in them (`remote/kept.py`): raise it when either changes


def load(blobs: Blobs, descriptor: Descriptor, folder: Path | None, progress: Progress) -> LayerIndex:
    """The layer's index, from the cache `folder` where it is kept. Raises as `layer_index.index` and `blobs`."""
    path = folder / f"{descriptor.digest.removeprefix('sha256:')}-{FORMAT}.json.gz" if folder else None
    found = cache.read(path, _parse)
    if found is None:
        found = _fetch(blobs, descriptor, progress)
        cache.write(path, _document(found))
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


def _parse(document: Any) -> LayerIndex:
    """Raises `ValueError`, `TypeError`, `KeyError` or `AttributeError` for what `_document` did not write."""
    return LayerIndex(
        entries=dict(_entry(*row) for row in document["entries"]),
        whiteouts=frozenset(_texts(document["whiteouts"])),
        opaque=frozenset(_texts(document["opaque"])),
        contents={name: base64.b64decode(text, validate=True) for name, text in document["contents"].items()},
    )


def _entry(name: Any, kind: Any, mode: Any, size: Any, link: Any) -> tuple[str, Entry]:
    if type(name) is not str or type(link) is not str or type(mode) is not int or type(size) is not int:
        raise TypeError("not an entry of a layer")
    return name, Entry(_KINDS[kind], mode, size, link)


def _texts(value: Any) -> list[str]:
    if type(value) is not list or not all(type(text) is str for text in value):
        raise TypeError("not a list of texts")
    return value


def _document(found: LayerIndex) -> dict[str, Any]:
    return {
        "entries": [[name, *entry] for name, entry in found.entries.items()],
        "whiteouts": sorted(found.whiteouts),
        "opaque": sorted(found.opaque),
        "contents": {name: base64.b64encode(content).decode() for name, content in found.contents.items()},
    }
