"""The edge of the engine-free stages: registries, cache folder and moment, as values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from xgbpatch import progress

if TYPE_CHECKING:
    from xgbpatch.progress import Progress
    from xgbpatch.remote.depot import Depot


@contextmanager
def opened(quiet: bool) -> Iterator[Depot]:
    """A depot with this user's credentials; no engine is asked for."""
    with progress.shown(quiet) as shown:
        yield connected(shown)


def connected(shown: Progress) -> Depot:
    """The same, with a progress that somebody else shows."""
    from xgbpatch.commands.workshop import cache_folder, epoch
    from xgbpatch.keychain import registry_keychain
    from xgbpatch.remote.depot import Depot
    from xgbpatch.remote.doors import blob_doors, registry_of

    keychain = registry_keychain()
    registry = registry_of(keychain)
    return Depot(registry, blob_doors(registry, keychain), cache_folder(), shown, epoch())
