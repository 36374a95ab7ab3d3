"""xgbpatch extends AWS's official SageMaker XGBoost container without rebuilding it.

The stages of the command line, as functions with typed values; see docs/library.md:

    resolve → inspect → render → build → check → push
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xgbpatch.building import Workshop, build, render
    from xgbpatch.contract import check
    from xgbpatch.inspection import inspect
    from xgbpatch.publication import push
    from xgbpatch.reference import ImageReference
    from xgbpatch.resolution import resolve
    from xgbpatch.spec import Spec

__all__ = ["ImageReference", "Spec", "Workshop", "build", "check", "inspect", "push", "render", "resolve"]

_HOMES = {
    "ImageReference": "reference",
    "Spec": "spec",
    "Workshop": "building",
    "build": "building",
    "check": "contract",
    "inspect": "inspection",
    "push": "publication",
    "render": "building",
    "resolve": "resolution",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"xgbpatch.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'xgbpatch' has no attribute {name!r}")
