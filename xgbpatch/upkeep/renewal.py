"""What `plan` found, done: make the image on the new base, test it, and only then move the aliases.

The sequence, and why it has no bad moment: the new image is put under a version tag of its own, which nobody uses yet;
the scan gate and `test-local` look at that very digest; then the aliases move, each in one step. Cut off anywhere
before, the aliases name what they named, and the next run finds what is there already.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import Enum

from xgbpatch import alias_memory
from xgbpatch.errors import FileError, XgbpatchError
from xgbpatch.reference import ImageReference
from xgbpatch.remote.depot import Depot
from xgbpatch.spec import Spec
from xgbpatch.upkeep import planning, promotion
from xgbpatch.upkeep.planning import Plan, State
from xgbpatch.upkeep.promotion import Examiner

Maker = Callable[[Plan, ImageReference], ImageReference]
Gate = Callable[[ImageReference, ImageReference], None]


class Outcome(Enum):
    """What became of an image: it was current, it was made anew, it stands there and is to be tested and promoted, a
    person is needed, or something failed."""

    CURRENT = "current"
    RENEWED = "renewed"
    WAITING = "waiting"
    DRIFTED = "drifted"
    FAILED = "failed"


@dataclass(frozen=True)
class Renewal:
    """How it went with one image of the configuration. `image` is by tag and digest where one was made or found;
    `aliases` are those that name it now."""

    name: str
    outcome: Outcome
    plan: Plan | None = None
    image: ImageReference | None = None
    aliases: tuple[str, ...] = ()
    tested: bool = False
    error: XgbpatchError | None = None


@dataclass(frozen=True)
class Crew:
    """Who does what: `make` puts an image under its version tag and names it by digest; `gate` raises where the patch
    added a finding of the scan; without an `examiner` nothing is tested and no alias moves. An image that drifted is
    made only where `accept_drift` says so."""

    depot: Depot
    place_of: Callable[[Spec], ImageReference]
    make: Maker
    today: date
    gate: Gate | None = None
    examiner: Examiner | None = None
    accept_drift: bool = False


def renew(crew: Crew, spec: Spec) -> Renewal:
    """Bring one image up to date. Never raises an `XgbpatchError`: it is in the answer, so that others go on."""
    plan: Plan | None = None
    image: ImageReference | None = None
    try:
        place = crew.place_of(spec)
        plan = planning.plan(crew.depot, spec, place, crew.today)
        image = plan.published.reference if plan.published else None
        if image and plan.state is State.CURRENT:
            return _proved(crew, plan, image)
        if image and crew.examiner is None and plan.alias_alone:
            return Renewal(spec.name, Outcome.WAITING, plan, image)
        if plan.state is State.DRIFTED and not crew.accept_drift:
            return Renewal(spec.name, Outcome.DRIFTED, plan, image)
        image = crew.make(plan, place)
        return _released(crew, plan, image)
    except XgbpatchError as error:
        return Renewal(spec.name, Outcome.FAILED, plan, image, error=error)
    except OSError as error:
        return Renewal(spec.name, Outcome.FAILED, plan, image, error=FileError.of(error))


def _proved(crew: Crew, plan: Plan, image: ImageReference) -> Renewal:
    """What nobody has tested, or what failed the last time, is tested now: that a build gave it proves nothing."""
    if crew.examiner is None or promotion.tried(crew.depot, image):
        return Renewal(plan.spec.name, Outcome.CURRENT, plan, image)
    if crew.gate:
        crew.gate(plan.base.reference, image)
    promotion.promote(crew.depot, image, (), crew.examiner)
    return Renewal(plan.spec.name, Outcome.CURRENT, plan, image, tested=True)


def _released(crew: Crew, plan: Plan, image: ImageReference) -> Renewal:
    spec = plan.spec
    if crew.gate:
        crew.gate(plan.base.reference, image)
    if crew.examiner is None:
        crew.depot.progress.line(f'"{image}" is not tested, so no alias moves to it')
        return Renewal(spec.name, Outcome.RENEWED, plan, image)
    moved = promotion.promote(crew.depot, image, _free(crew, plan, image), crew.examiner)
    names = tuple(alias.alias.tag for alias in moved.moved)
    return Renewal(spec.name, Outcome.RENEWED, plan, image, names, tested=True)


def _free(crew: Crew, plan: Plan, image: ImageReference) -> tuple[str, ...]:
    """The aliases that may move to `image`: not those that a rollback took away from it, which a person wants there."""
    registry = crew.depot.registry
    return tuple(
        alias for alias in plan.spec.aliases if alias_memory.withdrawn(registry, image.with_tag(alias)) != image.digest
    )
