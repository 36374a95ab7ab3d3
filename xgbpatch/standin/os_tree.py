"""The operating system below a stand-in base: this machine's own Debian release, as small as it goes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from xgbpatch.errors import SandboxError
from xgbpatch.progress import Progress
from xgbpatch.standin.versions import SUITES, Suite
from xgbpatch.standin.wheels import cache_folder, install

_OMITTED = ("usr/share/man/", "usr/share/locale/", "usr/share/info/", "var/cache/", "var/lib/apt/lists/")
_MOUNTED = ("dev/", "proc/", "sys/", "run/", "tmp/")


@dataclass(frozen=True)
class Debian:
    """A Debian release and where this machine takes it from."""

    suite: Suite
    mirror: str


def this_debian() -> Debian:
    """The release and mirror of this machine; raises `SandboxError` where it is no Debian that the table knows."""
    release = _os_release()
    suite = SUITES.get(release.get("VERSION_CODENAME", ""))
    if release.get("ID") != "debian" or suite is None:
        raise SandboxError(
            f'a stand-in base cannot be made on "{release.get("PRETTY_NAME", "this system")}"',
            f"Use Debian ({', '.join(SUITES)}), or name a base of yours with --base-image.",
        )
    return Debian(suite, _mirror(suite.name))


@contextmanager
def debian_tree(debian: Debian, progress: Progress) -> Iterator[Path]:
    """A root file system of that release, removed when the block ends; raises `SandboxError` when debootstrap fails."""
    _require_debootstrap(progress)
    with TemporaryDirectory(prefix="xgbpatch-os-") as folder:
        root = Path(folder) / "root"
        progress.line(f"debootstrap {debian.suite.name}: about a minute, once")
        done = subprocess.run(_debootstrap(debian, root), capture_output=True, text=True, check=False)
        if done.returncode:
            raise SandboxError(
                f'debootstrap of "{debian.suite.name}" from "{debian.mirror}" failed: {_last_lines(done.stdout)}',
                "Is the mirror reachable, and is there 1 GB of room in the temporary folder?",
            )
        yield root


def _debootstrap(debian: Debian, root: Path) -> list[str]:
    """The command; packages stay in the user's cache, so that a second time is quick."""
    packages = cache_folder() / "debian" / debian.suite.name
    packages.mkdir(parents=True, exist_ok=True)
    options = [f"--cache-dir={packages}", f"--include={','.join(debian.suite.packages)}"]
    return ["debootstrap", "--variant=minbase", *options, debian.suite.name, str(root), debian.mirror]


def write_tree(root: Path, target: IO[bytes]) -> None:
    """The file system at `root` as a tar, owners and modes kept, manuals, translations and caches left out."""
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(root, arcname=".", filter=_without_omitted)


def _without_omitted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    name = entry.name.removeprefix("./")
    if name.startswith(_OMITTED + _MOUNTED):
        return None
    manual = name.startswith("usr/share/doc/") and entry.isfile() and not name.endswith("/copyright")
    return None if manual else entry


def _require_debootstrap(progress: Progress) -> None:
    if os.geteuid() != 0:
        raise SandboxError("making a stand-in base needs root: debootstrap changes its root folder", "Use sudo.")
    if shutil.which("debootstrap"):
        return
    install(["debootstrap"], progress)


def _mirror(suite: str) -> str:
    """The first archive that apt is configured with for that release."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        uri, release, component = line.split()
        if release == suite and component == "main" and "security" not in uri:
            return uri
    return "http://deb.debian.org/debian/"


def _os_release() -> dict[str, str]:
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}


def _last_lines(text: str) -> str:
    return " / ".join(text.strip().splitlines()[-3:])
