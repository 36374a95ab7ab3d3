"""Every file of an image, listed by running it, and what differs between two such lists."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xgbpatch import cache, layout, probe
from xgbpatch.engine.client import Engine
from xgbpatch.engine.values import LocalImage
from xgbpatch.interpreter import run_probe

_ATTRIBUTES = 6  # of a file, see `probe/inventory.py`


@dataclass(frozen=True)
class Difference:
    """Paths that only the second list has, that only the first has, and that both have with other attributes."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    @property
    def outside(self) -> tuple[str, ...]:
        """All differences that are not additions below our own folder, each with its kind."""
        own = f"{layout.ROOT}/"
        foreign = [f"added {path}" for path in self.added if path != layout.ROOT and not path.startswith(own)]
        return (*foreign, *(f"removed {path}" for path in self.removed), *(f"changed {path}" for path in self.changed))


def take(engine: Engine, image: LocalImage, folder: Path | None) -> Mapping[str, str]:
    """Path → kind, mode, owner, size, mtime and link target, joined; from the cache `folder` where it is kept.

    Raises `BaseImageError` where the image cannot be run, or its Python prints something else.
    """
    path = folder / f"{image.id.removeprefix('sha256:')}-{probe.mark('inventory')}.files.json.gz" if folder else None
    listing = cache.read(path, _checked)
    if listing is None:
        listing = run_probe(engine, image, "inventory", parse)
        cache.write(path, dict(listing))
    return listing


def compare(before: Mapping[str, str], after: Mapping[str, str]) -> Difference:
    """What changed from `before` to `after`, each list sorted."""
    return Difference(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed=tuple(sorted(path for path in before.keys() & after.keys() if before[path] != after[path])),
    )


def parse(answer: str) -> Mapping[str, str]:
    """The probe's answer (base64 of zlib-compressed records, see `probe/inventory.py`) as path → attributes.

    Raises `ValueError` and `zlib.error` for anything else.
    """
    text = zlib.decompress(base64.b64decode(answer, validate=True)).decode("utf-8", "surrogateescape")
    return _checked(dict(line.split("\0", 1) for line in text.split("\0\0")))


def _checked(document: Any) -> Mapping[str, str]:
    """A listing: six attributes for every path, and no image is empty."""
    if not (isinstance(document, dict) and document):
        raise ValueError("not a list of files")
    for path, attributes in document.items():
        if not path.startswith("/") or type(attributes) is not str or attributes.count("\0") != _ATTRIBUTES - 1:
            raise ValueError(f'not a file of an image: "{path}"')
    listing: Mapping[str, str] = document
    return listing
