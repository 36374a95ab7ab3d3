"""The pipeline from a spec to an image of the local engine."""

from __future__ import annotations

from xgbpatch.building import Built, Workshop, build, render
from xgbpatch.registry import Registry
from xgbpatch.resolution import resolve
from xgbpatch.spec import Spec


def build_spec(workshop: Workshop, spec: Spec) -> Built:
    """The pipeline, from spec to image."""
    base = resolve(spec, Registry(workshop.credentials_for), workshop.engine)
    return build(workshop, render(workshop, spec, base))
