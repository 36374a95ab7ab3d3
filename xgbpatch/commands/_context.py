"""The edge: the only place that reads the environment. Connects engine and registries and hands them on as values."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xgbpatch import cache, progress
from xgbpatch.commands._options import working_folder
from xgbpatch.errors import ConfigurationError, XgbpatchError

if TYPE_CHECKING:
    from xgbpatch.build.engine import EngineBuilder
    from xgbpatch.build.resolve import Base
    from xgbpatch.commands._options import Selection
    from xgbpatch.contract.model import Report
    from xgbpatch.engine.client import Engine
    from xgbpatch.engine.types import LocalImage
    from xgbpatch.progress import Progress
    from xgbpatch.publish.aliases import MovedAlias, Tester
    from xgbpatch.reference import Credentials, ImageReference
    from xgbpatch.registry import Services
    from xgbpatch.spec import Spec


@contextmanager
def services(quiet: bool) -> Iterator[Services]:
    """Registries with this user's credentials, cache folder and progress; no engine is asked for."""
    with progress.shown(quiet) as shown:
        yield connect_services(shown)


@contextmanager
def engine_builder(quiet: bool, no_cache: bool = False) -> Iterator[EngineBuilder]:
    """The builder on the engine that `DOCKER_HOST` names; raises `EngineError` where none answers."""
    with progress.shown(quiet) as shown, connected_builder(shown, no_cache) as builder:
        yield builder


@contextmanager
def connected_builder(shown: Progress, no_cache: bool = False) -> Iterator[EngineBuilder]:
    """`engine_builder` with a progress that somebody else shows."""
    from xgbpatch.build.engine import EngineBuilder
    from xgbpatch.engine.client import Engine

    def credentials_for(reference: ImageReference) -> Credentials | None:
        from xgbpatch.registry.keychain import Keychain  # which not every command needs

        return Keychain()(reference)

    with Engine.connect() as engine:
        yield EngineBuilder(engine, credentials_for, cache_folder(), shown, source_date_epoch(), no_cache)


def connect_services(shown: Progress) -> Services:
    """Services with a progress that somebody else shows."""
    from xgbpatch import registry

    return registry.connect(cache_folder(), shown, source_date_epoch())


def cache_folder() -> Path:
    """`XDG_CACHE_HOME/xgbpatch`, by default `~/.cache/xgbpatch`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xgbpatch"


def source_date_epoch() -> datetime | None:
    """`SOURCE_DATE_EPOCH` (seconds, reproducible-builds.org) where it is set."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    try:
        return datetime.fromtimestamp(int(text), timezone.utc)
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigurationError(f'SOURCE_DATE_EPOCH "{text}" is no number of seconds since 1970') from error


def resolve_base(builder: EngineBuilder, spec: Spec) -> Base:
    """The base that `spec` names, pinned, and said aloud."""
    from xgbpatch.build.resolve import resolve

    local = spec.base_image is not None and not spec.base_image.host  # then no registry is asked
    registry = None if local else connect_services(builder.progress).registry
    base = resolve(spec, registry, builder.engine)
    builder.progress.line(f"Base: {base.reference}")
    return base


def local_tester(services: Services, logs: Path) -> Tester:
    """Runs `test-local` on this machine's engine, which is connected when an image has yet to be tested."""
    from xgbpatch.commands._options import announce_logs
    from xgbpatch.publish.aliases import Tester

    announce_logs(logs, services.progress)

    def try_out(image: ImageReference) -> Report:
        from xgbpatch.contract import Options
        from xgbpatch.engine.client import Engine
        from xgbpatch.publish import test_record

        with Engine.connect() as engine:
            return test_record.run_test_local(
                engine, services.registry, image, Options(logs=logs, progress=services.progress)
            )

    return Tester(try_out, datetime.now(timezone.utc))


def raise_together(failures: Mapping[str, XgbpatchError], count: int, what: str) -> None:
    """Raise what failed of `count` attempts. Of several, one error tells all by name, each with its next step below it;
    the exit code is that of the first."""
    if not failures:
        return
    first = next(iter(failures.values()))
    if count == 1:
        raise first
    lines = [line for name, error in failures.items() for line in failure_lines(name, error)]
    together = XgbpatchError(f"{len(failures)} of {count} {what}", "\n".join(lines))
    together.exit_code = first.exit_code
    raise together


def failure_lines(name: str, error: XgbpatchError) -> Iterator[str]:
    """The lines that say what failed with `name`: the message, and below it what to do next."""
    yield f"{name}: {error.message}"
    yield from (f"  {line}" for line in error.next_step.splitlines())


def error_document(error: XgbpatchError) -> dict[str, Any]:
    """An error, for `--json`."""
    return {"message": error.message, "next_step": error.next_step, "exit_code": error.exit_code}


def alias_document(moved: MovedAlias) -> dict[str, Any]:
    """An alias that moved, for `--json`: `previous` is null for a new one."""
    return {
        "alias": moved.alias.tag,
        "digest": moved.alias.digest,
        "previous": moved.before or None,
        "up_to_date": moved.up_to_date,
    }


# Which image a command without IMAGE means: the one that the last `build` in this folder put into the engine.
#
# What was built is remembered in the cache, by the absolute path of the configuration file, or of the folder where
# there is none: each has a last build of its own. The file is found as `build` finds it, and flags of that build do
# not matter.


_SHOWN = 20


@dataclass(frozen=True)
class BuiltImage:
    """Its name and its ID in the engine."""

    name: str
    id: str


def remember_build(selection: Selection, images: Sequence[BuiltImage]) -> None:
    """Keep what a `build` made, so far as it came; one that put nothing into the engine made none."""
    place = _place_of_build(selection)
    cache.write(_record(place), {"place": str(place), "images": [[image.name, image.id] for image in images]})


def last_build(engine: Engine, selection: Selection, progress: Progress) -> tuple[LocalImage, str]:
    """The image of the last build, and what to call it: its name, or its ID where that names another image by now. That
    is said aloud.

    Raises `ConfigurationError`, which lists what there is, where no build is known, where it made several images, and
    where its image is gone.
    """
    from xgbpatch.provenance import SPEC_DIGEST

    place = _place_of_build(selection)
    built = cache.read(_record(place), lambda document: _images(document, place)) or []
    if len(built) == 1:
        local = engine.image(built[0].id)
        if local is not None:
            name = built[0].name if built[0].name in local.tags else local.id
            progress.line(f'Image: {name}, the last build of "{place}"')
            return local, name
    if built:
        names = ", ".join(image.name for image in built)
        what = f'the last build of "{place}" made {names}' + (", which is gone" if len(built) == 1 else "")
    else:
        what = f'no build of "{place}" is known'
    listed = [name for each in engine.images(SPEC_DIGEST) for name in each.tags or (each.id,)]
    more = [f"and {len(listed) - _SHOWN} more"] if len(listed) > _SHOWN else []
    raise ConfigurationError(
        f"no IMAGE is named, and {what}",
        "\n  ".join(["Name one of those that the engine holds, the newest first:", *listed[:_SHOWN], *more])
        if listed
        else "Run `xgbpatch build` first, or name an IMAGE.",
    )


def _place_of_build(selection: Selection) -> Path:
    return Path(os.path.realpath(selection.file() or working_folder()))


def _record(place: Path) -> Path:
    name = hashlib.sha256(os.fsencode(place)).hexdigest()
    return cache_folder() / "last-build" / f"{name}.json.gz"


def _images(document: Any, place: Path) -> list[BuiltImage]:
    if document["place"] != str(place):
        raise ValueError("of another place")
    return [BuiltImage(str(name), str(identifier)) for name, identifier in document["images"]]
