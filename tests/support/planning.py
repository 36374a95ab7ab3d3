"""What the tests of plans share: a base as it was and as it became, and a place where images of it are published."""

from __future__ import annotations

import datetime

from support import handmade
from support.handmade_bases import SERVE_UTILS, HandBase
from xgbpatch.build import registry as registry_builder
from xgbpatch.build.resolve import resolve
from xgbpatch.registry.images import load_image
from xgbpatch.upkeep import plan

TODAY = datetime.date(2026, 11, 1)
PARAMETERS = ("def predict(model, model_format,", "def predict(model, new, model_format,")
OLD = HandBase()
FIXED = HandBase(patches=".1")
HOOKED = OLD.with_module(SERVE_UTILS, *PARAMETERS)


class Yard:
    """A base of which `spec` is to have an image, and the repository of that image."""

    def __init__(self, depot, spec, loopback):
        self.depot, self.spec, self.loopback = depot, spec, loopback
        self.place = loopback.reference(spec.repository)

    def move(self, base):
        """Put another image under the base's tag, as AWS does."""
        return handmade.put(self.depot, self.spec.base_image, base.image)

    def publish(self, spec=None):
        spec = spec or self.spec
        design = registry_builder.render(self.depot, spec, resolve(spec, self.depot.registry))
        place = self.place.with_tag(design.reference.tag)
        return registry_builder.build(self.depot, design, place).reference

    def relabel(self, reference, **changes):
        """The image again, with other labels: as another xgbpatch would have written them."""
        image = load_image(self.depot.registry, reference)
        labels = {**image.labels, **changes}
        settings = {key: value for key, value in image.config["config"].items() if key not in ("Labels", "Env")}
        again = handmade.HandImage([], image.environment, labels, settings)
        return handmade.put(self.depot, reference.with_digest(""), again)

    def plan(self, spec=None, today=TODAY, packages=True):
        return plan.plan(self.depot, spec or self.spec, self.place, today, packages)
