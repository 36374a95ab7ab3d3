"""Registry names that a sandbox has on this machine, by its block in the hosts file, which `sandbox.hosts` writes.

While the block stands, these names mean the sandbox for every program and in every shell, also after its processes have
ended with the machine's power.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

HOSTS = Path("/etc/hosts")
BUNDLE = "bundle.crt"  # in the sandbox's state directory: what a shell that uses it trusts
_BLOCK = re.compile(r'^# >>> xgbpatch sandbox "(?P<mark>.*)" >>>.*\n(?P<lines>(?:[^#].*\n)*)', re.MULTILINE)


def owners(path: Path) -> Mapping[str, str]:
    """The state directory of a sandbox by each name that its block has; empty where there is no such file."""
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return {}
    return {
        name: block["mark"]
        for block in _BLOCK.finditer(text)
        for line in block["lines"].splitlines()
        for name in line.split()[1:]
    }


def commands(state: str | Path) -> str:
    """How to use the sandbox in that state directory, and how to stop it, as one sentence."""
    option = f"--state {shlex.quote(str(state))}"
    return f'In this shell: eval "$(xgbpatch sandbox env {option})". To stop it: xgbpatch sandbox down {option}'


def next_step(host: str) -> str:
    """What to do about a registry's name that a sandbox has, in a shell that is not pointed at it; else empty."""
    state = owners(HOSTS).get(host, "")
    if not state or os.environ.get("REQUESTS_CA_BUNDLE") == f"{state}/{BUNDLE}":
        return ""
    return f'On this machine "{host}" is the sandbox in "{state}". {commands(state)}'
