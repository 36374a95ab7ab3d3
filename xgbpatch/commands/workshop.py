"""The edge: connects the engine, finds the cache folder and the moment, and hands them to the stages as values."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from xgbpatch import progress
from xgbpatch.errors import ConfigurationError

if TYPE_CHECKING:
    from xgbpatch.building import Workshop
    from xgbpatch.progress import Progress


@contextmanager
def opened(quiet: bool) -> Iterator[Workshop]:
    """A workshop on the engine that `DOCKER_HOST` names; raises `EngineError` where none answers."""
    with progress.shown(quiet) as shown, connected(shown) as shop:
        yield shop


@contextmanager
def connected(shown: Progress) -> Iterator[Workshop]:
    """The same, with a progress that somebody else shows."""
    from xgbpatch.building import Workshop
    from xgbpatch.engine.client import Engine
    from xgbpatch.keychain import registry_keychain

    with Engine.connect() as engine:
        yield Workshop(engine, registry_keychain(), cache_folder(), shown, moment())


def cache_folder() -> Path:
    """`XDG_CACHE_HOME/xgbpatch`, by default `~/.cache/xgbpatch`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xgbpatch"


def moment() -> datetime:
    """Now, or the moment that `epoch` tells."""
    return epoch() or datetime.now(timezone.utc)


def epoch() -> datetime | None:
    """`SOURCE_DATE_EPOCH` (seconds, reproducible-builds.org) where it is set."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    try:
        return datetime.fromtimestamp(int(text), timezone.utc)
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigurationError(f'SOURCE_DATE_EPOCH "{text}" is no number of seconds since 1970') from error
