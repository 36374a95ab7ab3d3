"""SageMaker's contract with a container, as checks that run on a real engine."""

from xgbpatch.contract.checking import check
from xgbpatch.contract.options import Options
from xgbpatch.contract.table import CHECKS, Check

__all__ = ["CHECKS", "Check", "Options", "check"]
