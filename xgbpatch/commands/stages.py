"""A stage that several commands begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xgbpatch.building import Workshop
    from xgbpatch.resolution import Base
    from xgbpatch.spec import Spec


def resolved(shop: Workshop, spec: Spec) -> Base:
    """The base that `spec` names, pinned, and said aloud."""
    from xgbpatch.registry import Registry
    from xgbpatch.resolution import resolve

    base = resolve(spec, Registry(shop.credentials_for), shop.engine)
    shop.progress.line(f"Base: {base.reference}")
    return base
