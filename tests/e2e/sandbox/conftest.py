"""Sandboxes of their own for these tests: other accounts, regions, addresses and directories than the session's."""

import os
import secrets
from pathlib import Path

import boto3
import pytest

from support.sandbox.traces import HOSTS, certificates
from xgbpatch import sandbox
from xgbpatch.progress import Silent

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
REGIONS = [("ap-south-2", "eu-north-1", "eu-south-1"), ("sa-east-1", "eu-central-1", "eu-central-2"),
           ("ca-west-1", "us-east-1", "us-east-2"), ("me-south-1", "ap-east-1", "af-south-1")][_WORKER % 4]  # fmt: skip


def options_for(state: Path, *regions: str) -> sandbox.SandboxOptions:
    """A sandbox that nobody else on this machine has: its account and addresses come from this process's number."""
    number = os.getpid()
    return sandbox.SandboxOptions(
        account=f"{number:012d}",
        regions=regions,
        versions=(),
        first_address=f"127.{100 + number % 100}.{number // 256 % 256}.{number % 128}",
        state=state / "sandbox",
    )


@pytest.fixture
def options(tmp_path):
    """Options of a sandbox for one test; whatever the test left is taken down."""
    chosen = options_for(tmp_path, REGIONS[0])
    yield chosen
    sandbox.down(chosen)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A sandbox that runs for all tests of a module, in two regions."""
    chosen = options_for(tmp_path_factory.mktemp("state"), *REGIONS[1:])
    try:
        yield sandbox.up(chosen, Silent())
    finally:
        sandbox.down(chosen)


@pytest.fixture
def own(running):
    """The user's registry in the first region."""
    return running.registries[1]


@pytest.fixture
def ecr(running, own, monkeypatch):
    """ECR's API in that region; this process's variables point at the sandbox."""
    for name, value in sandbox.environment(running).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    return boto3.client("ecr", own.region)


@pytest.fixture
def repository(ecr):
    """A new repository's name."""
    name = f"probe/{secrets.token_hex(4)}"
    ecr.create_repository(repositoryName=name)
    return name


@pytest.fixture
def nothing_left():
    """Compares the machine before and after the test: hosts file, certificates, and processes that name `tmp_path`."""
    before = HOSTS.read_bytes(), certificates()
    yield
    assert (HOSTS.read_bytes(), certificates()) == before
