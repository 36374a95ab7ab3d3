"""An AWS on loopback: the distribution registry under real ECR names with TLS, and moto for everything else.

Nothing else in xgbpatch knows about it: `environment` gives the variables that point any AWS client at it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from xgbpatch.sandbox.options import SandboxOptions

if TYPE_CHECKING:
    from xgbpatch.sandbox.lifecycle import Observation, down, environment, status, up
    from xgbpatch.sandbox.state import SandboxState

__all__ = ["Observation", "SandboxOptions", "SandboxState", "down", "environment", "status", "up"]

_HOMES = {
    "Observation": "lifecycle",
    "SandboxState": "state",
    "down": "lifecycle",
    "environment": "lifecycle",
    "status": "lifecycle",
    "up": "lifecycle",
}


def __getattr__(name: str) -> Any:
    """PEP 562: `xgbpatch --help` needs the options alone."""
    if name in _HOMES:
        return getattr(import_module(f"xgbpatch.sandbox.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'xgbpatch.sandbox' has no attribute {name!r}")
