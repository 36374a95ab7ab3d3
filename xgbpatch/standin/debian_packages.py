"""Debian packages that making a stand-in base needs on this machine, installed where they are missing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from xgbpatch.errors import SandboxError
from xgbpatch.progress import Progress


def install(names: Sequence[str], progress: Progress) -> None:
    """`apt-get install` them; raises `SandboxError` with the command to run where that is not possible here."""
    by_hand = f"apt-get install {' '.join(names)}"
    if os.geteuid() != 0:
        raise SandboxError(f"{', '.join(names)} are missing, and installing them needs root", f"sudo {by_hand}")
    progress.line(by_hand)
    _apt_get("update", "-qq")  # an old list is worth a try: the install says what it lacks
    failure = _apt_get("install", "-y", "-qq", "--no-install-recommends", *names)
    if failure:
        raise SandboxError(f"{', '.join(names)} could not be installed: {failure}", by_hand)


def _apt_get(*arguments: str) -> str:
    """The last words of a failure, or nothing."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(["apt-get", *arguments], capture_output=True, text=True, env=environment, check=False)
    except FileNotFoundError:
        return "this is no Debian"
    return " / ".join(done.stderr.strip().splitlines()[-3:]) or "apt-get failed" if done.returncode else ""
