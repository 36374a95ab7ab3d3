"""The pipeline from a spec to an image of the local engine."""

from __future__ import annotations

from xgbpatch.build.engine import EngineBuilder, EngineBuildResult
from xgbpatch.build.resolve import resolve
from xgbpatch.registry.client import Registry
from xgbpatch.spec import Spec


def build_spec(builder: EngineBuilder, spec: Spec) -> EngineBuildResult:
    """The pipeline, from spec to image."""
    base = resolve(spec, Registry(builder.credentials_for), builder.engine)
    definition = builder.define(spec, base)
    return builder.build(definition, definition.reference)
