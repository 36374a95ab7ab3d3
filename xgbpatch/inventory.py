"""Every file of an image, listed by running it, and what differs between two such lists."""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from xgbpatch import layout, probe
from xgbpatch.engine.client import Engine
from xgbpatch.engine.values import LocalImage
from xgbpatch.interpreter import run_python


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


def take(engine: Engine, image: LocalImage, cache: Path | None) -> Mapping[str, str]:
    """Path → kind, mode, owner, size, mtime and link target, joined; from `cache` where it was listed before."""
    kept = cache / f"{image.id.removeprefix('sha256:')}.inventory" if cache else None
    if kept and kept.exists():
        return parse(kept.read_bytes())
    packed = base64.b64decode(run_python(engine, image.id, probe.source("inventory")))
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}.part")
        part.write_bytes(packed)
        part.replace(kept)
    return parse(packed)


def compare(before: Mapping[str, str], after: Mapping[str, str]) -> Difference:
    """What changed from `before` to `after`, each list sorted."""
    return Difference(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed=tuple(sorted(path for path in before.keys() & after.keys() if before[path] != after[path])),
    )


def parse(packed: bytes) -> Mapping[str, str]:
    """The probe's answer (zlib-compressed records, see `probe/inventory.py`) as path → attributes."""
    text = zlib.decompress(packed).decode("utf-8", "surrogateescape")
    return dict(line.split("\0", 1) for line in text.split("\0\0"))
