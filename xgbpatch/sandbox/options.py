"""What a sandbox is asked to be. Two with other directories, accounts, regions and addresses live side by side."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from xgbpatch.errors import ConfigurationError


@dataclass(frozen=True)
class SandboxOptions:
    """`account` is the user's own; `versions` the stand-in bases to push; `first_address` the first loopback address.

    Every registry host (two a region: the base's account and the user's) takes one address, counted from
    `first_address`, port 443: ECR's host names carry no port, and each account has a password of its own. The
    directory `state` (absolute) is the sandbox's identity. Raises `ConfigurationError` for what cannot be.
    """

    account: str = "123456789012"
    regions: tuple[str, ...] = ("us-west-2", "eu-west-1")
    versions: tuple[str, ...] = ("1.5-1", "3.2-0")
    first_address: str = "127.0.0.2"
    state: Path = field(default_factory=lambda: state_home() / "xgbpatch" / "sandbox")
    hosts: Path = Path("/etc/hosts")
    certificates: Path = Path("/etc/docker/certs.d")

    def __post_init__(self) -> None:
        _require(bool(re.fullmatch(r"\d{12}", self.account)), "account", self.account, "twelve digits")
        _require(bool(self.regions), "regions", "", "at least one region")
        _require(_is_loopback(self.first_address), "address", self.first_address, "an address in 127.0.0.0/8")
        _require(self.state.is_absolute(), "state directory", str(self.state), "an absolute path")

    def address(self, number: int) -> str:
        """The loopback address of the `number`th registry host."""
        return str(ipaddress.IPv4Address(self.first_address) + number)


def state_home() -> Path:
    """Where programs keep state (XDG base directory specification)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.IPv4Address(address).is_loopback
    except ValueError:
        return False


def _require(condition: bool, what: str, value: str, allowed: str) -> None:
    if not condition:
        raise ConfigurationError(f'"{value}" is no sandbox {what}', f"Give {allowed}.")
