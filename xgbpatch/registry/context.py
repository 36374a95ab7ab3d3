"""What every stage works with: registries, blobs, a cache folder, progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from xgbpatch.progress import Progress
from xgbpatch.reference import ImageReference
from xgbpatch.registry import ecr
from xgbpatch.registry.blobs import BlobStore
from xgbpatch.registry.client import Registry
from xgbpatch.registry.keychain import Keychain, registry_keychain


@dataclass(frozen=True)
class Services:
    """`created` (UTC) is the moment that images made here say they were created. Where it is None, the engine's builder
    takes the time of the build, and the registry's the base's, so that the same spec gives the same digest any day."""

    registry: Registry
    blobs_of: Callable[[ImageReference], BlobStore]
    cache: Path
    progress: Progress
    created: datetime | None = None


def connect(
    cache: Path, progress: Progress, created: datetime | None = None, *, keychain: Keychain | None = None
) -> Services:
    """Services with this user's credentials, or those of `keychain`; nothing is asked for yet."""
    keychain = keychain or registry_keychain()
    registry = ecr.registry_of(keychain)
    return Services(registry, ecr.blob_store_for(registry, keychain), cache, progress, created)
