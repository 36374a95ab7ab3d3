"""What every engine-free stage works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from xgbpatch.progress import Progress
from xgbpatch.reference import ImageReference
from xgbpatch.registry.blobs import BlobStore
from xgbpatch.registry.client import Registry


@dataclass(frozen=True)
class Depot:
    """The registries, blobs by repository, a cache folder, where progress goes, and the moment (UTC) that images made
    here say they were created: None for that of their base, so that the same spec gives the same digest any day."""

    registry: Registry
    blobs_of: Callable[[ImageReference], BlobStore]
    cache: Path
    progress: Progress
    moment: datetime | None = None
