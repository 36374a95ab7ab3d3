"""What the tests of plans share: a base as it was and as it became, and a place where images of it are published."""

from __future__ import annotations

import datetime

from support import handmade
from support.handmade_bases import SERVE_UTILS, HandBase
from xgbpatch.build.registry import RegistryBuilder
from xgbpatch.build.resolve import resolve
from xgbpatch.upkeep import plan

TODAY = datetime.date(2026, 11, 1)
PARAMETERS = ("def predict(model, model_format,", "def predict(model, new, model_format,")
OLD = HandBase()
FIXED = HandBase(patches=".1")
HOOKED = OLD.with_module(SERVE_UTILS, *PARAMETERS)


class ImageRepository:
    """A base of which `spec` is to have an image, and the repository of that image."""

    def __init__(self, services, spec, loopback):
        self.services, self.spec, self.loopback = services, spec, loopback
        self.place = loopback.reference(spec.repository)

    def move(self, base):
        """Put another image under the base's tag, as AWS does."""
        return handmade.put(self.services, self.spec.base_image, base.image)

    def publish(self, spec=None):
        spec = spec or self.spec
        design = RegistryBuilder(self.services).define(spec, resolve(spec, self.services.registry))
        place = self.place.with_tag(design.reference.tag)
        return RegistryBuilder(self.services).build(design, place).reference

    def relabel(self, reference, **changes):
        """The image again, with other labels: as another xgbpatch would have written them."""
        return handmade.forge(self.services, reference, lambda config: config["config"]["Labels"].update(changes))

    def plan(self, spec=None, today=TODAY, packages=True):
        return plan.plan(self.services, spec or self.spec, self.place, today, packages)
