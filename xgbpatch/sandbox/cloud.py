"""AWS's control plane (ECR, STS, SageMaker, …) on a free loopback port: moto, with ECR's images from the registries."""

from __future__ import annotations

import os
import socket
import sys
import time
import urllib.error
import urllib.request

from xgbpatch.errors import SandboxError
from xgbpatch.sandbox import processes
from xgbpatch.sandbox.state import Journal, SandboxState

_DEFAULT_ACCOUNT = "123456789012"
_START_SECONDS = 60.0


def start(journal: Journal) -> None:
    """Start it and wait until it answers; raises `SandboxError` with the end of its log."""
    port = _free_port()
    state = journal.update(endpoint=f"http://127.0.0.1:{port}")
    command = [sys.executable, "-m", "xgbpatch.sandbox.ecr_server", str(state.directory)]
    variables = {**_environment(state.account), "MOTO_PORT": str(port)}
    process = processes.start("aws", command, variables, state.directory / "aws.log")
    state = journal.update(processes=(*state.processes, process))
    deadline = time.monotonic() + _START_SECONDS
    while not answers(state):
        if time.monotonic() > deadline or not processes.running(process):
            log = processes.last_lines(state.directory / "aws.log")
            raise SandboxError(f'the AWS endpoint "{state.endpoint}" does not answer\n{log}')
        time.sleep(0.1)


def answers(state: SandboxState) -> bool:
    """Whether the AWS endpoint answers."""
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(f"{state.endpoint}/moto-api/data.json", timeout=10).close()
    except (urllib.error.URLError, OSError):
        return False
    return True


def _environment(account: str) -> dict[str, str]:
    """This process's, without what belongs to the user's own AWS; moto tells accounts by key unless one is forced."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MOTO_"))}
    return own if account == _DEFAULT_ACCOUNT else {**own, "MOTO_ACCOUNT_ID": account}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
