"""The pipeline from a spec to an image of the local engine."""

from __future__ import annotations

from xgbpatch.build.engine import BuildResult, Workshop, build, render
from xgbpatch.build.resolve import resolve
from xgbpatch.registry.client import Registry
from xgbpatch.spec import Spec


def build_spec(workshop: Workshop, spec: Spec) -> BuildResult:
    """The pipeline, from spec to image."""
    base = resolve(spec, Registry(workshop.credentials_for), workshop.engine)
    return build(workshop, render(workshop, spec, base))
