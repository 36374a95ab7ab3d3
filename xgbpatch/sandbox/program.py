"""The distribution registry's program: the machine's own, or Debian's unpacked into the sandbox's directory."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from xgbpatch.errors import SandboxError
from xgbpatch.progress import Progress

_PACKAGE = "docker-registry"
_NEXT_STEP = f"Install the distribution registry (Debian: apt-get install {_PACKAGE}), then run this again."


def find_registry(directory: Path, progress: Progress) -> str:
    """Path of the program. Where the machine has none, Debian's package is unpacked under `directory`.

    Unpacked rather than installed: the package would start a registry without a password on port 5000 of every
    address, and would outlive the sandbox. Raises `SandboxError` where there is no apt either.
    """
    for name in (_PACKAGE, "registry"):
        if found := shutil.which(name):
            return found
    if not shutil.which("apt-get"):
        raise SandboxError(f'there is no program "{_PACKAGE}" on this machine', _NEXT_STEP)
    progress.line(f"{_PACKAGE}: fetching Debian's package")
    return str(_unpack(directory))


def _unpack(directory: Path) -> Path:
    directory.mkdir(parents=True)
    if _run(["apt-get", "download", _PACKAGE], directory).returncode:
        _run(["apt-get", "update"], directory)
        fetched = _run(["apt-get", "download", _PACKAGE], directory)
        if fetched.returncode:
            raise SandboxError(f'apt-get could not fetch "{_PACKAGE}": {fetched.stderr.strip()}', _NEXT_STEP)
    archive = next(directory.glob("*.deb"))
    _run(["dpkg-deb", "--extract", archive.name, "."], directory).check_returncode()
    return directory / "usr" / "bin" / _PACKAGE


def _run(command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
