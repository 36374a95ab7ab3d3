"""Which bases the tests run on, and the pipeline from a spec to an image.

`XGBPATCH_TEST_BASE=<image>` (in the local engine) takes the place of the stand-ins; its version is its tag, or
`XGBPATCH_TEST_VERSION`.
"""

from __future__ import annotations

import os

from xgbpatch.building import Built, Workshop, build, render
from xgbpatch.reference import ImageReference
from xgbpatch.registry import Registry
from xgbpatch.resolution import resolve
from xgbpatch.spec import Spec

TEST_BASE = os.environ.get("XGBPATCH_TEST_BASE", "")
STANDINS = ("1.5-1", "3.2-0")


def versions() -> tuple[str, ...]:
    """The versions under test, oldest first."""
    if not TEST_BASE:
        return STANDINS
    return (os.environ.get("XGBPATCH_TEST_VERSION") or ImageReference.parse(TEST_BASE).tag,)


def chosen() -> tuple[str, ...]:
    """For long tests of what hangs on no version: the newest, or all where XGBPATCH_TEST_LONG asks for them."""
    return versions() if os.environ.get("XGBPATCH_TEST_LONG") else versions()[-1:]


def build_spec(workshop: Workshop, spec: Spec) -> Built:
    """The pipeline, from spec to image."""
    base = resolve(spec, Registry(workshop.credentials_for), workshop.engine)
    return build(workshop, render(workshop, spec, base))
