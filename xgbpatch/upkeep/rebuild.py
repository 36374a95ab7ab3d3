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

from xgbpatch.aws import RepositoryOptions
from xgbpatch.build import engine as engine_builder
from xgbpatch.build import registry as registry_builder
from xgbpatch.build.definition import ImageDefinition
from xgbpatch.build.engine import Workshop
from xgbpatch.errors import BaseImageError, ConfigurationError, ContractError, FileError, PackageError, XgbpatchError
from xgbpatch.publish import aliases, attachments
from xgbpatch.publish import destination as publish_destination
from xgbpatch.publish.aliases import Tester
from xgbpatch.publish.attachments import Attachments
from xgbpatch.publish.push import Publisher, PushRequest
from xgbpatch.reference import ImageReference
from xgbpatch.registry.context import Depot
from xgbpatch.spec import Spec
from xgbpatch.upkeep import plan as upkeep_plan
from xgbpatch.upkeep import rebase
from xgbpatch.upkeep.plan import Plan, State
from xgbpatch.upkeep.rebase import RebaseRequest

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
class RebuildResult:
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
class RebuildSteps:
    """Who does what: `make` puts an image under its version tag and names it by digest; `gate` raises where the patch
    added a finding of the scan; without an `examiner` nothing is tested and no alias moves. An image that drifted is
    made only where `accept_drift` says so."""

    depot: Depot
    place_of: Callable[[Spec], ImageReference]
    make: Maker
    today: date
    gate: Gate | None = None
    examiner: Tester | None = None
    accept_drift: bool = False


def rebuild(crew: RebuildSteps, spec: Spec) -> RebuildResult:
    """Bring one image up to date. Never raises an `XgbpatchError`: it is in the answer, so that others go on."""
    plan: Plan | None = None
    image: ImageReference | None = None
    try:
        place = crew.place_of(spec)
        plan = upkeep_plan.plan(crew.depot, spec, place, crew.today)
        image = plan.published.reference if plan.published else None
        if image and plan.state is State.CURRENT:
            return _test_current(crew, plan, image)
        if image and crew.examiner is None and plan.alias_alone:
            return RebuildResult(spec.name, Outcome.WAITING, plan, image)
        if plan.state is State.DRIFTED and not crew.accept_drift:
            return RebuildResult(spec.name, Outcome.DRIFTED, plan, image)
        image = crew.make(plan, place)
        return _release(crew, plan, image)
    except XgbpatchError as error:
        return RebuildResult(spec.name, Outcome.FAILED, plan, image, error=error)
    except OSError as error:
        return RebuildResult(spec.name, Outcome.FAILED, plan, image, error=FileError.of(error))


def _test_current(crew: RebuildSteps, plan: Plan, image: ImageReference) -> RebuildResult:
    """What nobody has tested, or what failed the last time, is tested now: that a build gave it proves nothing."""
    if crew.examiner is None or aliases.latest_pass(crew.depot, image):
        return RebuildResult(plan.spec.name, Outcome.CURRENT, plan, image)
    if crew.gate:
        crew.gate(plan.base.reference, image)
    aliases.promote(crew.depot, image, (), crew.examiner)
    return RebuildResult(plan.spec.name, Outcome.CURRENT, plan, image, tested=True)


def _release(crew: RebuildSteps, plan: Plan, image: ImageReference) -> RebuildResult:
    spec = plan.spec
    if crew.gate:
        crew.gate(plan.base.reference, image)
    if crew.examiner is None:
        crew.depot.progress.line(f'"{image}" is not tested, so no alias moves to it')
        return RebuildResult(spec.name, Outcome.RENEWED, plan, image)
    moved = aliases.promote(crew.depot, image, _movable_aliases(crew, plan, image), crew.examiner)
    names = tuple(alias.alias.tag for alias in moved.moved)
    return RebuildResult(spec.name, Outcome.RENEWED, plan, image, names, tested=True)


def _movable_aliases(crew: RebuildSteps, plan: Plan, image: ImageReference) -> tuple[str, ...]:
    """The aliases that may move to `image`: not those that a rollback took away from it, which a person wants there."""
    registry = crew.depot.registry
    return tuple(
        alias
        for alias in plan.spec.aliases
        if aliases.withdrawn_digest(registry, image.with_tag(alias)) != image.digest
    )


# Making what a plan asks for with the engine: build, verify in containers, push.


def engine_maker(depot: Depot, workshop: Workshop, wanted: Attachments) -> Maker:
    """Puts the image under its version tag in the repository; it stays in the engine under its local name, too."""

    def make(plan: Plan, place: ImageReference) -> ImageReference:
        rendered = engine_builder.render(workshop, plan.spec, plan.base)
        built = engine_builder.build(workshop, rendered)
        parcel = PushRequest(built.image, place.with_tag(rendered.reference.tag))
        image = Publisher(workshop.engine, depot.registry, workshop.progress).push(parcel).reference
        attachments.attach_all(depot, image, rendered, wanted)
        return image

    return make


# Making what a plan asks for without an engine: the old image moved where only its base did, else built.


def registry_maker(depot: Depot, accept_drift: bool, wanted: Attachments) -> Maker:
    """Puts the image under its version tag in the repository, and its papers with it."""

    def make(plan: Plan, place: ImageReference) -> ImageReference:
        made = registry_builder.render(depot, plan.spec, plan.base)
        image = _rebased(depot, plan, made, accept_drift) or _built(depot, made, place)
        attachments.attach_all(depot, image, made, wanted)
        return image

    return make


def _rebased(depot: Depot, plan: Plan, made: ImageDefinition, accept_drift: bool) -> ImageReference | None:
    """None where the layer is to be made anew: something of ours changed too, or a package is newer by now."""
    before = plan.published and plan.published.provenance
    if not (plan.published and before and plan.base_alone and before.spec_digest == made.provenance.spec_digest):
        return None
    wish = RebaseRequest(plan.published.reference, plan.base.reference, made.reference.tag, accept_drift)
    try:
        return rebase.rebase(depot, wish).reference
    except (PackageError, BaseImageError, ContractError, ConfigurationError) as error:
        # its packages were resolved for another base, or that base is gone, or nothing proves what is whose
        depot.progress.line(f"{error.message}: building instead")
        return None


def _built(depot: Depot, made: ImageDefinition, place: ImageReference) -> ImageReference:
    destination = place.with_tag(made.reference.tag)
    publish_destination.ensure_repository(destination, RepositoryOptions())
    return registry_builder.build(depot, made, destination).reference
