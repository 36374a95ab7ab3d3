"""Making what a plan asks for without an engine: the old image moved where only its base did, else built."""

from __future__ import annotations

from xgbpatch import repository
from xgbpatch.aws import RepositoryOptions
from xgbpatch.errors import PackageError
from xgbpatch.reference import ImageReference
from xgbpatch.remote import assembly
from xgbpatch.remote.depot import Depot
from xgbpatch.upkeep import rebasing
from xgbpatch.upkeep.planning import Plan
from xgbpatch.upkeep.rebasing import Wish
from xgbpatch.upkeep.renewal import Maker


def registry_maker(depot: Depot, accept_drift: bool) -> Maker:
    """Puts the image under its version tag in the repository."""

    def make(plan: Plan, place: ImageReference) -> ImageReference:
        if plan.published and plan.base_alone:
            try:
                wish = Wish(plan.published.reference, plan.base.reference, accept_drift=accept_drift)
                return rebasing.rebase(depot, wish).reference
            except PackageError as error:  # its packages were resolved for another base: resolve them anew
                depot.progress.line(f"{error.message}: building instead")
        made = assembly.render(depot, plan.spec, plan.base)
        destination = place.with_tag(made.reference.tag)
        repository.ensure(destination, RepositoryOptions())
        return assembly.assemble(depot, made, destination).reference

    return make
