"""Regions that one process has for itself, so that the sandboxes of several runs never share a name or an address."""

from __future__ import annotations

import re
import shutil
import socket
from pathlib import Path

from xgbpatch.hostnames import owners
from xgbpatch.sandbox import SandboxOptions, down, hosts

_REGIONS = (
    "af-south-1", "ap-east-1", "ap-northeast-1", "ap-northeast-2", "ap-south-1", "ap-south-2", "ap-southeast-1",
    "ap-southeast-2", "ca-central-1", "ca-west-1", "eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1",
    "eu-south-2", "eu-west-2", "eu-west-3", "il-central-1", "me-central-1", "me-south-1", "sa-east-1", "us-east-1",
    "us-east-2", "us-west-1",
)  # fmt: skip
_leases: list[socket.socket] = []


def lease(count: int) -> list[str]:
    """`count` regions that are this process's until it ends, none of them the default sandbox's.

    The process listens on an address that stands for the region: no file to leave behind, to lack a right for, or to
    be hidden by TMPDIR.
    """
    leased: list[str] = []
    for region in _REGIONS:
        if len(leased) < count:
            try:
                listener = socket.create_server((_address(region, 1), 443))
            except OSError:
                continue
            if clear(region):
                _leases.append(listener)
                leased.append(region)
            else:
                listener.close()
    assert len(leased) == count, f"other test runs on this machine have taken all but {leased} of {_REGIONS}"
    return leased


def clear(
    region: str, hosts_file: Path = SandboxOptions.hosts, certificates: Path = SandboxOptions.certificates
) -> bool:
    """Take away what a killed test run left of a leased region; False where somebody else has its names."""
    name_in_region = re.compile(rf"\S+\.dkr\.ecr\.{region}\.amazonaws\.com")
    while names := name_in_region.findall(hosts_file.read_text()):
        directory = Path(owners(hosts_file).get(names[0], "/"))
        if not any(part.startswith("pytest-of-") for part in directory.parts):
            return False
        down(SandboxOptions(state=directory, hosts=hosts_file, certificates=certificates))
        hosts.write(hosts_file, directory, ())
    for folder in certificates.glob(f"*.dkr.ecr.{region}.amazonaws.com"):
        shutil.rmtree(folder)
    return True


def first_address(region: str) -> str:
    """The first of the addresses that belong to a region."""
    return _address(region, 2)


def _address(region: str, number: int) -> str:
    return f"127.100.{_REGIONS.index(region)}.{number}"
