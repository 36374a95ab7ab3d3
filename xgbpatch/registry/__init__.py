"""The client of the OCI distribution API, and ECR by its own calls: no engine is needed.

`Services` are what every stage without an engine works with.
"""

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
from xgbpatch.registry.keychain import Keychain


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
    keychain = keychain or Keychain()
    registry = ecr.EcrAwareRegistry(keychain)
    return Services(registry, ecr.blob_store_for(registry, keychain), cache, progress, created)
