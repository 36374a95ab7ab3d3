"""An AWS on loopback: the distribution registry under real ECR names with TLS, and moto for everything else.

Nothing else in xgbpatch needs it: `environment` gives the variables that point any AWS client at it. Only `doctor` and
`hostnames` know of it, to say why a registry's name leads to it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from xgbpatch.sandbox.state import SandboxOptions, SandboxState

if TYPE_CHECKING:
    from xgbpatch.sandbox.lifecycle import VARIABLES, Observation, down, environment, known, pointed_at, status, up

__all__ = [
    "VARIABLES", "Observation", "SandboxOptions", "SandboxState", "down", "environment", "known", "pointed_at",
    "status", "up",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """PEP 562: `xgbpatch --help` needs the options alone."""
    if name in __all__:
        return getattr(import_module("xgbpatch.sandbox.lifecycle"), name)
    raise AttributeError(f"module 'xgbpatch.sandbox' has no attribute {name!r}")
