"""Sandboxes of their own for these tests: other accounts, regions, addresses and directories than the session's."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from sandbox_traces import HOSTS, certificates

from xgbpatch import sandbox
from xgbpatch.progress import Silent


def options_for(state: Path, region: str) -> sandbox.SandboxOptions:
    """A sandbox that nobody else on this machine has: its account and addresses come from this process's number."""
    number = os.getpid()
    return sandbox.SandboxOptions(
        account=f"{number:012d}",
        regions=(region,),
        versions=(),
        first_address=f"127.{100 + number % 100}.{number // 256 % 256}.{number % 128}",
        state=state / "sandbox",
    )


@pytest.fixture
def options(tmp_path):
    """Options of a sandbox for one test; whatever the test left is taken down."""
    chosen = options_for(tmp_path, "ap-south-2")
    yield chosen
    sandbox.down(chosen)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A sandbox that runs for all tests of a module, in two regions."""
    chosen = replace(options_for(tmp_path_factory.mktemp("state"), "eu-north-1"), regions=("eu-north-1", "eu-south-1"))
    try:
        yield sandbox.up(chosen, Silent())
    finally:
        sandbox.down(chosen)


@pytest.fixture
def nothing_left():
    """Compares the machine before and after the test: hosts file, certificates, and processes that name `tmp_path`."""
    before = HOSTS.read_bytes(), certificates()
    yield
    assert (HOSTS.read_bytes(), certificates()) == before
