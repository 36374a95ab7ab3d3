"""An AWS on loopback: the distribution registry under real ECR names with TLS, and moto for everything else.

Nothing else in xgbpatch knows about it: `environment` gives the variables that point any AWS client at it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from xgbpatch.sandbox.options import SandboxOptions

if TYPE_CHECKING:
    from xgbpatch.sandbox.lifetime import Observation, down, status, up
    from xgbpatch.sandbox.state import SandboxState
    from xgbpatch.sandbox.variables import environment

__all__ = ["Observation", "SandboxOptions", "SandboxState", "down", "environment", "status", "up"]

_HOMES = {
    "Observation": "lifetime",
    "SandboxState": "state",
    "down": "lifetime",
    "environment": "variables",
    "status": "lifetime",
    "up": "lifetime",
}


def __getattr__(name: str) -> Any:
    """PEP 562: `xgbpatch --help` needs the options alone."""
    if name in _HOMES:
        return getattr(import_module(f"xgbpatch.sandbox.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'xgbpatch.sandbox' has no attribute {name!r}")
