"""xgbpatch extends AWS's official SageMaker XGBoost container without rebuilding it.

The stages of the command line, as functions with typed values; see docs/library.md:

    resolve → define → build → check → push
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xgbpatch.build.engine import EngineBuilder
    from xgbpatch.build.registry import RegistryBuilder
    from xgbpatch.build.resolve import resolve
    from xgbpatch.contract import check
    from xgbpatch.explanation import explain
    from xgbpatch.inspection.container import inspect
    from xgbpatch.publish.push import push
    from xgbpatch.reference import ImageReference
    from xgbpatch.registry import Services, connect
    from xgbpatch.spec import Spec

__all__ = [
    "EngineBuilder", "ImageReference", "RegistryBuilder", "Services", "Spec", "check", "connect", "explain", "inspect",
    "push", "resolve",
]  # fmt: skip

_HOMES = {
    "EngineBuilder": "build.engine",
    "ImageReference": "reference",
    "RegistryBuilder": "build.registry",
    "Services": "registry",
    "Spec": "spec",
    "check": "contract",
    "connect": "registry",
    "explain": "explanation",
    "inspect": "inspection.container",
    "push": "publish.push",
    "resolve": "build.resolve",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"xgbpatch.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'xgbpatch' has no attribute {name!r}")
