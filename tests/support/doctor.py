"""Runs `xgbpatch doctor` in a given environment; its findings by name."""

import json
import os
import subprocess
import sys
from pathlib import Path

XGBPATCH = Path(sys.executable).with_name("xgbpatch")


def run_doctor(variables, *arguments):
    own = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    isolated = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null",
                "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}  # fmt: skip
    return subprocess.run(
        [XGBPATCH, "doctor", *arguments], env={**own, **isolated, **variables}, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip


def findings_of(completed):
    return {finding["name"]: finding for finding in json.loads(completed.stdout)}
