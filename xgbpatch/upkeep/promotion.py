"""Tested first, then moved: what `promote` and `rollback` do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from xgbpatch import alias_memory
from xgbpatch.alias_memory import Moved
from xgbpatch.errors import ContractError, RegistryError
from xgbpatch.reference import ImageReference
from xgbpatch.remote.depot import Depot
from xgbpatch.report import Report
from xgbpatch.upkeep import aliases, trial
from xgbpatch.upkeep.trial import Record

TryOut = Callable[[ImageReference], Report]


@dataclass(frozen=True)
class Promotion:
    """The image by digest, the record that it passed, whether it had to be tested for it now, and each alias."""

    image: ImageReference
    record: Record
    tested_now: bool
    moved: tuple[Moved, ...]


@dataclass(frozen=True)
class Examiner:
    """How an image without a record gets one: `try_out` runs `test-local` on it, at `moment` (UTC)."""

    try_out: TryOut
    moment: datetime


def promote(depot: Depot, image: ImageReference, names: Sequence[str], examiner: Examiner) -> Promotion:
    """Move the aliases `names` to `image` once `test-local` has passed on its digest.

    Raises `ContractError` where it does not pass; no alias has moved then.
    """
    for name in names:
        alias_memory.alias(image, name)  # a name that cannot be is refused before minutes of testing
    pinned = _pinned(depot, image)
    known = tried(depot, pinned)
    record = known or examined(depot, pinned, examiner.try_out(pinned), examiner.moment)
    depot.progress.line(f'"{pinned.pinned}" passed test-local ({record.date}, xgbpatch {record.version})')
    return Promotion(pinned, record, known is None, tuple(aliases.promote(depot, pinned, name) for name in names))


def examined(depot: Depot, image: ImageReference, report: Report, moment: datetime) -> Record:
    """The record of `report`, attached to the image that `image` names by digest; raises `ContractError` unless it
    passed."""
    record = trial.record(image, report, moment)
    trial.keep(depot.registry, depot.blobs_of(image), image, record)
    return record


def rollback(depot: Depot, place: ImageReference, name: str, to: str = "") -> Moved:
    """Move the alias back: to its previous target, or to the digest `to`, which must have been tested once."""
    if to:
        image = replace(place, tag="", digest=to)
        if aliases.previous(depot, place, name) != to and tried(depot, _pinned(depot, image)) is None:
            raise ContractError(f'"{image}" was never promoted or tested', f"xgbpatch promote {image} --alias {name}")
    return aliases.rollback(depot, place, name, to)


def tried(depot: Depot, image: ImageReference) -> Record | None:
    """The newest record that the image, named by digest, has passed; None where there is none."""
    return trial.tried(depot.registry, depot.blobs_of(image), image)


def _pinned(depot: Depot, image: ImageReference) -> ImageReference:
    found = depot.registry.head(image)
    if found is None:
        raise RegistryError(f'"{image}" does not exist', "Check the repository, the tag and the region.")
    return image.with_digest(found.digest)
