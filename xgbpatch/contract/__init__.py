"""SageMaker's contract with a container, as checks that run on a real engine.

All but `Options` are imported where they are asked for: what only reads a report needs none of the checks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xgbpatch.contract.model import Options

if TYPE_CHECKING:
    from xgbpatch.contract.runner import CHECKS, Check, check

__all__ = ["CHECKS", "Check", "Options", "check"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from xgbpatch.contract import runner

        return getattr(runner, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
