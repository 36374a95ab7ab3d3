"""The edge: the only place that reads the environment. Connects engine and registries and hands them on as values."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xgbpatch import progress
from xgbpatch.commands._outputs import OutputFolder
from xgbpatch.errors import ConfigurationError

if TYPE_CHECKING:
    from xgbpatch.build.engine import Workshop
    from xgbpatch.build.resolve import Base
    from xgbpatch.contract.model import Report
    from xgbpatch.progress import Progress
    from xgbpatch.publish.aliases import MovedAlias, Tester
    from xgbpatch.reference import ImageReference
    from xgbpatch.registry.context import Depot
    from xgbpatch.spec import Spec


@contextmanager
def open_workshop(quiet: bool) -> Iterator[Workshop]:
    """A workshop on the engine that `DOCKER_HOST` names; raises `EngineError` where none answers."""
    with progress.shown(quiet) as shown, connect_workshop(shown) as shop:
        yield shop


@contextmanager
def connect_workshop(shown: Progress) -> Iterator[Workshop]:
    """The same, with a progress that somebody else shows."""
    from xgbpatch.build.engine import Workshop
    from xgbpatch.engine.client import Engine
    from xgbpatch.registry.keychain import registry_keychain

    with Engine.connect() as engine:
        yield Workshop(engine, registry_keychain(), cache_folder(), shown, now())


def cache_folder() -> Path:
    """`XDG_CACHE_HOME/xgbpatch`, by default `~/.cache/xgbpatch`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xgbpatch"


def now() -> datetime:
    """Now, or the moment that `epoch` tells."""
    return source_date_epoch() or datetime.now(timezone.utc)


def source_date_epoch() -> datetime | None:
    """`SOURCE_DATE_EPOCH` (seconds, reproducible-builds.org) where it is set."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    try:
        return datetime.fromtimestamp(int(text), timezone.utc)
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigurationError(f'SOURCE_DATE_EPOCH "{text}" is no number of seconds since 1970') from error


# The edge of the engine-free stages: registries, cache folder and moment, as values.


@contextmanager
def open_depot(quiet: bool) -> Iterator[Depot]:
    """A depot with this user's credentials; no engine is asked for."""
    with progress.shown(quiet) as shown:
        yield connect_depot(shown)


def connect_depot(shown: Progress) -> Depot:
    """The same, with a progress that somebody else shows."""
    pass  # MOVED
    from xgbpatch.registry.context import Depot
    from xgbpatch.registry.ecr import blob_store_for, registry_of
    from xgbpatch.registry.keychain import registry_keychain

    keychain = registry_keychain()
    registry = registry_of(keychain)
    return Depot(registry, blob_store_for(registry, keychain), cache_folder(), shown, source_date_epoch())


# A stage that several commands begin with.


def resolve_base(shop: Workshop, spec: Spec) -> Base:
    """The base that `spec` names, pinned, and said aloud."""
    from xgbpatch.build.resolve import resolve
    from xgbpatch.registry.client import Registry

    base = resolve(spec, Registry(shop.credentials_for), shop.engine)
    shop.progress.line(f"Base: {base.reference}")
    return base


# The edge of a promotion: connects the engine when, and only when, an image has yet to be tested.


logs_option = click.option(
    "--logs",
    type=OutputFolder(),
    default=Path("xgbpatch-logs"),
    show_default=True,
    help="Where the container logs of failed checks are kept.",
)


def local_tester(depot: Depot, logs: Path) -> Tester:
    """Runs `test-local` on this machine's engine, with this user's credentials."""
    from xgbpatch.publish.aliases import Tester

    def try_out(image: ImageReference) -> Report:
        from xgbpatch.contract import Options
        from xgbpatch.engine.client import Engine
        from xgbpatch.publish import test_record

        with Engine.connect() as engine:
            return test_record.run_test_local(
                engine, depot.registry, image, Options(logs=logs, progress=depot.progress)
            )

    return Tester(try_out, datetime.now(timezone.utc))


def alias_document(moved: MovedAlias) -> dict[str, Any]:
    """An alias that moved, for `--json`: `previous` is null for a new one."""
    return {
        "alias": moved.alias.tag,
        "digest": moved.alias.digest,
        "previous": moved.before or None,
        "up_to_date": moved.up_to_date,
    }
