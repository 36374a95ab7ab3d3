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
from xgbpatch.build.definition import ImageDefinition
from xgbpatch.build.engine import EngineBuilder
from xgbpatch.build.registry import RegistryBuilder
from xgbpatch.engine.client import Engine
from xgbpatch.errors import BaseImageError, ConfigurationError, ContractError, FileError, PackageError, XgbpatchError
from xgbpatch.publish import aliases, ensure_repository, test_record
from xgbpatch.publish.aliases import Tester
from xgbpatch.publish.push import Publisher, PushRequest
from xgbpatch.reference import ImageReference
from xgbpatch.registry import Services
from xgbpatch.spec import Spec
from xgbpatch.upkeep import plan as upkeep_plan
from xgbpatch.upkeep import rebase
from xgbpatch.upkeep.plan import Plan, State


@dataclass(frozen=True)
class NewImage:
    """An image that stands under its version tag, by tag and digest, and what it was made from."""

    reference: ImageReference
    definition: ImageDefinition


Maker = Callable[[Plan, ImageReference], NewImage]
Gate = Callable[[ImageReference, ImageReference], None]


class Outcome(Enum):
    """What became of an image: it was current, it was made anew, it stands there and is to be tested and promoted, a
    person is needed (its base drifted, or somebody put another image in its place), or something failed."""

    CURRENT = "current"
    RENEWED = "renewed"
    WAITING = "waiting"
    DRIFTED = "drifted"
    FOREIGN = "foreign"
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
    """Who does what: `make` puts an image under its version tag; `attach` attaches what goes with it; `gate` raises
    where the patch added a finding of the scan; without a `tester` nothing is tested and no alias moves. An image that
    drifted is made only where `accept_drift` says so."""

    services: Services
    place_of: Callable[[Spec], ImageReference]
    make: Maker
    attach: Callable[[NewImage], None]
    today: date
    gate: Gate | None = None
    tester: Tester | None = None
    accept_drift: bool = False


def rebuild(steps: RebuildSteps, spec: Spec) -> RebuildResult:
    """Bring one image up to date. Never raises an `XgbpatchError`: it is in the answer, so that others go on."""
    plan: Plan | None = None
    image: ImageReference | None = None
    try:
        place = steps.place_of(spec)
        plan = upkeep_plan.plan(steps.services, spec, place, steps.today)
        image = plan.published.reference if plan.published else None
        if image and plan.state is State.CURRENT:
            return _test_current(steps, plan, image)
        if image and steps.tester is None and plan.alias_alone:
            return RebuildResult(spec.name, Outcome.WAITING, plan, image)
        if plan.state is State.FOREIGN or (plan.state is State.DRIFTED and not steps.accept_drift):
            return RebuildResult(spec.name, Outcome(plan.state.value), plan, image)
        new_image = steps.make(plan, place)
        image = new_image.reference  # it stands, whatever fails from now on
        steps.attach(new_image)
        return _release(steps, plan, image)
    except XgbpatchError as error:
        return RebuildResult(spec.name, Outcome.FAILED, plan, image, error=error)
    except OSError as error:
        return RebuildResult(spec.name, Outcome.FAILED, plan, image, error=FileError.of(error))


def _test_current(steps: RebuildSteps, plan: Plan, image: ImageReference) -> RebuildResult:
    """Tests a current image that has no record of a passed test: that a build would give the same proves nothing."""
    if steps.tester is None or test_record.latest_pass(steps.services, image):
        return RebuildResult(plan.spec.name, Outcome.CURRENT, plan, image)
    if steps.gate:
        steps.gate(plan.base.reference, image)
    aliases.promote(steps.services, image, (), steps.tester)
    return RebuildResult(plan.spec.name, Outcome.CURRENT, plan, image, tested=True)


def _release(steps: RebuildSteps, plan: Plan, image: ImageReference) -> RebuildResult:
    spec = plan.spec
    if steps.gate:
        steps.gate(plan.base.reference, image)
    if steps.tester is None:
        steps.services.progress.line(f'"{image}" is not tested, so no alias moves to it')
        return RebuildResult(spec.name, Outcome.RENEWED, plan, image)
    movable = tuple(
        alias
        for alias in spec.aliases  # but those that a rollback took away from it, which a person wants where they are
        if aliases.withdrawn_digest(steps.services.registry, image.with_tag(alias)) != image.digest
    )
    promotion = aliases.promote(steps.services, image, movable, steps.tester)
    names = tuple(alias.alias.tag for alias in promotion.moved)
    return RebuildResult(spec.name, Outcome.RENEWED, plan, image, names, tested=True)


def make_with_engine(services: Services, engine: Engine, plan: Plan, place: ImageReference) -> NewImage:
    """Build, verify in containers, push. The image stays in the engine under its local name, too."""
    credentials_for = services.registry.credentials_for
    builder = EngineBuilder(engine, credentials_for, services.cache, services.progress, services.created)
    definition = builder.define(plan.spec, plan.base)
    result = builder.build(definition, definition.reference)
    request = PushRequest(result.image, place.with_tag(definition.reference.tag))
    return NewImage(Publisher(engine, services).push(request).reference, definition)


def make_in_registry(services: Services, plan: Plan, place: ImageReference, *, accept_drift: bool) -> NewImage:
    """Move the old image where only its base has changed, else build; no engine is asked for."""
    builder = RegistryBuilder(services)
    definition = builder.define(plan.spec, plan.base)
    image = _rebased(services, plan, definition, accept_drift)
    if image is None:
        name = place.with_tag(definition.reference.tag)
        ensure_repository(name, RepositoryOptions())
        image = builder.build(definition, name).reference
    return NewImage(image, definition)


def _rebased(services: Services, plan: Plan, definition: ImageDefinition, accept_drift: bool) -> ImageReference | None:
    """None where the layer is to be made anew: something of ours changed too, or a package is newer by now."""
    published = plan.published
    before = published and published.provenance
    if not (published and before and plan.base_alone and before.spec_digest == definition.provenance.spec_digest):
        return None
    old, base, tag = published.reference, plan.base.reference, definition.reference.tag
    try:
        return rebase.rebase(services, old, base, tag=tag, accept_drift=accept_drift).reference
    except (PackageError, BaseImageError, ContractError, ConfigurationError) as error:
        # its packages were resolved for another base, or that base is gone, or nothing proves what is whose
        services.progress.line(f"{error.message}: building instead")
        return None
