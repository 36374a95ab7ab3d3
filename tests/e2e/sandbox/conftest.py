"""Sandboxes of their own for these tests: other accounts, regions, addresses and directories than the session's."""

import os
import secrets
from pathlib import Path

import boto3
import pytest

from support.sandbox.regions import first_address, lease
from support.sandbox.traces import traces_of
from xgbpatch import sandbox
from xgbpatch.progress import Silent


def options_for(state: Path, *regions: str) -> sandbox.SandboxOptions:
    """A sandbox in regions that this process has leased."""
    return sandbox.SandboxOptions(
        account=f"{os.getpid():012d}",
        regions=regions,
        versions=(),
        first_address=first_address(regions[0]),
        state=state / "sandbox",
    )


@pytest.fixture(scope="session")
def regions():
    """Four that no other process of this machine has; the first and the last are for sandboxes of single tests."""
    return lease(4)


@pytest.fixture
def options(tmp_path, regions, registry_on_path):
    """Options of a sandbox for one test; whatever the test left is taken down."""
    chosen = options_for(tmp_path, regions[0])
    yield chosen
    sandbox.down(chosen)


@pytest.fixture(scope="session")
def options_of_running(tmp_path_factory, regions):
    return options_for(tmp_path_factory.mktemp("state"), *regions[1:3])


@pytest.fixture(scope="session")
def running(options_of_running, registry_on_path):
    """A sandbox that runs for all tests that leave it as it is, in two regions."""
    try:
        yield sandbox.up(options_of_running, Silent())
    finally:
        sandbox.down(options_of_running)


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
def nothing_left(options):
    """Fails where the test leaves lines of its sandbox in the hosts file, or certificates for its regions."""
    yield
    assert traces_of(options) == []
