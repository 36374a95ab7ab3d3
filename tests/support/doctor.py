"""Runs `xgbpatch doctor` in a given environment; its findings by name."""

import json
import os
import sys
from pathlib import Path

from support.commands import xgbpatch

XGBPATCH = Path(sys.executable).with_name("xgbpatch")


def run_doctor(variables, *arguments):
    own = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    isolated = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null",
                "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}  # fmt: skip
    return xgbpatch("doctor", *arguments, environment={**own, **isolated, **variables})


def findings_of(completed):
    return {finding["name"]: finding for finding in json.loads(completed.stdout)}
