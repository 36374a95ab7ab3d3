"""An AWS on loopback: the distribution registry under real ECR names with TLS, and moto for everything else.

Nothing else in xgbpatch knows about it: `environment` gives the variables that point any AWS client at it.
"""

from xgbpatch.sandbox.environment import environment
from xgbpatch.sandbox.lifetime import Observation, down, status, up
from xgbpatch.sandbox.options import SandboxOptions
from xgbpatch.sandbox.state import SandboxState

__all__ = ["Observation", "SandboxOptions", "SandboxState", "down", "environment", "status", "up"]
