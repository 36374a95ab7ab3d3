"""How this machine finds the registries under ECR's host names, and how its Docker Engine trusts them."""

from __future__ import annotations

import socket
from pathlib import Path

from xgbpatch.errors import SandboxError
from xgbpatch.sandbox import hosts
from xgbpatch.sandbox.state import Journal


def publish_names(journal: Journal) -> None:
    """Put the host names into the hosts file; raises `SandboxError` where they then resolve to something else."""
    state = journal.state
    hosts.write(state.hosts, state.directory, state.registries)
    for registry in state.registries:
        found = _resolve(registry.host)
        if found != registry.address:
            raise SandboxError(
                f'"{registry.host}" resolves to {found or "nothing"}, not to the sandbox\'s {registry.address}',
                f'Does "{state.hosts}" hold another line for it, and does /etc/nsswitch.conf say "hosts: files"?',
            )


def _resolve(host: str) -> str:
    try:
        return socket.gethostbyname(host)
    except socket.gaierror:
        return ""


def trust_authority(journal: Journal, certificates_directory: Path) -> None:
    """Put the authority where the Docker Engine looks for it; raises `SandboxError` where another's file is."""
    for registry in journal.state.registries:
        target = certificates_directory / registry.host / "ca.crt"
        if target.exists():
            raise SandboxError(f'"{target}" is there already and is not the sandbox\'s', "Move it away first.")
        try:
            _make_parents(journal, target.parent)
            journal.create(target).write_bytes(journal.state.authority.read_bytes())
        except OSError as error:
            raise SandboxError(f'"{target}" cannot be written: {error.strerror}', "Run the sandbox as root.") from error


def _make_parents(journal: Journal, directory: Path) -> None:
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        journal.create(path).mkdir()
