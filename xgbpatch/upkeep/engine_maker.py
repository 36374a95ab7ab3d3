"""Making what a plan asks for with the engine: build, verify in containers, push."""

from __future__ import annotations

from xgbpatch import building
from xgbpatch.building import Workshop
from xgbpatch.publication import Parcel, Publisher
from xgbpatch.reference import ImageReference
from xgbpatch.remote import papers
from xgbpatch.remote.depot import Depot
from xgbpatch.remote.papers import Papers
from xgbpatch.upkeep.planning import Plan
from xgbpatch.upkeep.renewal import Maker


def engine_maker(depot: Depot, workshop: Workshop, wanted: Papers) -> Maker:
    """Puts the image under its version tag in the repository; it stays in the engine under its local name, too."""

    def make(plan: Plan, place: ImageReference) -> ImageReference:
        rendered = building.render(workshop, plan.spec, plan.base)
        built = building.build(workshop, rendered)
        parcel = Parcel(built.image, place.with_tag(rendered.reference.tag))
        image = Publisher(workshop.engine, depot.registry, workshop.progress).push(parcel).reference
        papers.issue(depot, image, rendered, wanted)
        return image

    return make
