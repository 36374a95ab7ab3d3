"""SageMaker's contract with a container, as checks that run on a real engine."""

from xgbpatch.contract.model import Options
from xgbpatch.contract.runner import CHECKS, Check, check

__all__ = ["CHECKS", "Check", "Options", "check"]
