"""One AWS on loopback for all of these tests, and the command line pointed at it."""

import os
import subprocess
import sys

import pytest

from support.bases import TEST_BASE, chosen
from support.loopback_aws import ACCOUNT, REGION
from support.sandbox.regions import first_address
from xgbpatch import sandbox
from xgbpatch.progress import Silent


@pytest.fixture(scope="session")
def cloud(engine, base_of, tmp_path_factory):
    """Environment variables that point the command line at a sandbox of its own, with the bases pushed."""
    options = sandbox.SandboxOptions(
        account=ACCOUNT,
        regions=(REGION,),
        versions=() if TEST_BASE else chosen(),
        first_address=first_address(REGION),
        state=tmp_path_factory.mktemp("state") / "sandbox",
    )
    try:
        state = sandbox.up(options, Silent())
        yield {**os.environ, **sandbox.environment(state), "AWS_DEFAULT_REGION": REGION, "AWS_REGION": REGION}
    finally:
        sandbox.down(options, images=True)


@pytest.fixture(scope="session")
def xgbpatch(cloud, tmp_path_factory):
    """`xgbpatch(arguments…)`: stdout of a command that must succeed; its folder keeps no state between commands."""
    folder = tmp_path_factory.mktemp("work")

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "xgbpatch", *arguments]
        result = subprocess.run(command, env=cloud, cwd=folder, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout.strip()

    return run
