"""Making what a plan asks for without an engine: the old image moved where only its base did, else built."""

from __future__ import annotations

from xgbpatch import repository
from xgbpatch.aws import RepositoryOptions
from xgbpatch.design import Design
from xgbpatch.errors import BaseImageError, ConfigurationError, ContractError, PackageError
from xgbpatch.reference import ImageReference
from xgbpatch.remote import assembly, papers
from xgbpatch.remote.depot import Depot
from xgbpatch.remote.papers import Papers
from xgbpatch.upkeep import rebasing
from xgbpatch.upkeep.planning import Plan
from xgbpatch.upkeep.rebasing import Wish
from xgbpatch.upkeep.renewal import Maker


def registry_maker(depot: Depot, accept_drift: bool, wanted: Papers) -> Maker:
    """Puts the image under its version tag in the repository, and its papers with it."""

    def make(plan: Plan, place: ImageReference) -> ImageReference:
        made = assembly.render(depot, plan.spec, plan.base)
        image = _rebased(depot, plan, made, accept_drift) or _built(depot, made, place)
        papers.issue(depot, image, made, wanted)
        return image

    return make


def _rebased(depot: Depot, plan: Plan, made: Design, accept_drift: bool) -> ImageReference | None:
    """None where the layer is to be made anew: something of ours changed too, or a package is newer by now."""
    before = plan.published and plan.published.provenance
    if not (plan.published and before and plan.base_alone and before.spec_digest == made.provenance.spec_digest):
        return None
    wish = Wish(plan.published.reference, plan.base.reference, made.reference.tag, accept_drift)
    try:
        return rebasing.rebase(depot, wish).reference
    except (PackageError, BaseImageError, ContractError, ConfigurationError) as error:
        # its packages were resolved for another base, or that base is gone, or nothing proves what is whose
        depot.progress.line(f"{error.message}: building instead")
        return None


def _built(depot: Depot, made: Design, place: ImageReference) -> ImageReference:
    destination = place.with_tag(made.reference.tag)
    repository.ensure(destination, RepositoryOptions())
    return assembly.assemble(depot, made, destination).reference
