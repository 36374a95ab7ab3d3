"""What the tests of rebases share: bases as they were and as they became, and a repository of images made on them."""

from __future__ import annotations

from dataclasses import replace

from support.handmade import forge, put
from support.handmade_bases import SERVE_UTILS, HandBase
from xgbpatch.build.registry import RegistryBuilder
from xgbpatch.build.resolve import Base
from xgbpatch.spec import Architecture, Spec
from xgbpatch.upkeep import rebase

OLD = HandBase()
NEW = HandBase(
    patches="-fixed",
    labels={"maintainer": "AWS", "month": "november"},
    environment={"PATH": "/opt/python/bin:/usr/local/bin:/usr/bin:/bin", "LANG": "C", "PYTHONPATH": "/opt/ml/code"},
)
HOOKED = NEW.with_module(SERVE_UTILS, "def predict(", "def predict(\n    strict, ")


class Repositories:
    """A repository of bases, and one of patched images."""

    def __init__(self, services, images):
        self.services = services
        self.images = images
        self.base = replace(images, repository=images.repository.replace("/image", "/base"), tag="3.2-0")

    def publish(self, base):
        """AWS moves its tag to the base."""
        return put(self.services, self.base, base.image)

    def defined(self, base, **fields):
        spec = Spec(version="3.2-0", region="", base_image=self.base, **{"features": ("shap",), **fields})
        return RegistryBuilder(self.services).define(spec, Base(base, "3.2-0", Architecture.AMD64))

    def build(self, base, place=None, **fields):
        """What `build --builder registry` makes of the spec on the base."""
        definition = self.defined(base, **fields)
        return (
            RegistryBuilder(self.services)
            .build(definition, (place or self.images).with_tag(definition.reference.tag))
            .reference
        )

    def rebase(self, image, **options):
        return rebase.rebase(self.services, image, **options)

    def forge(self, image, change=lambda config: None, layers=None):
        """Put the image's tag on one with another configuration, and other layers where given."""
        return forge(self.services, image, change, layers=layers)
