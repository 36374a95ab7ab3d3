"""Compiles the native library with `ziglang`: one file for each machine, the same bytes wherever it is made.

`python -m xgbpatch.native.build` (in scripts/setup) and the build hook of wheel and editable install call `build`.
Nothing is compiled where the libraries are there and were made from these sources, or lie in the user's cache from
another checkout. Run time needs none of this.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

SOURCES = Path(__file__).parent
FOLDER = SOURCES.parent / "overlays" / "native"
MACHINES = ("x86_64", "aarch64")  # as `platform.machine()` calls them
ZIG = "0.17.1"  # pyproject.toml pins the same
FLAGS = (  # no contraction: predictions are the base's, bit for bit; where more may be fused, the source says so
    "-std=gnu11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-sanitize=undefined", "-fvisibility=hidden",
    "-fno-jump-tables", "-fPIC", "-shared", "-s", "-Wall", "-Wextra", "-Werror",
)  # fmt: skip


def library(machine: str, folder: Path = FOLDER) -> Path:
    """Where the library of `machine` lies."""
    return folder / f"libxgbpatch-{machine}.so"


def digest() -> str:
    """sha256 over the sources, the flags and the compiler's version."""
    total = hashlib.sha256(f"{ZIG} {' '.join(FLAGS)}\n".encode())
    for path in sorted(SOURCES.glob("*.[ch]")):
        total.update(f"{path.name}\n".encode() + path.read_bytes())
    return total.hexdigest()


def complaint(path: Path) -> str:
    """Why `path` is not the library that these sources make, or an empty string."""
    if not path.is_file():
        return f'the native library "{path.name}" is missing'
    if f"xgbpatch-sources:{digest()}".encode() not in path.read_bytes():
        return f'the native library "{path.name}" was made from other sources'
    return ""


def needs_compiler() -> bool:
    """Whether `build` would compile."""
    return any(complaint(library(machine)) and _cached_library(machine) is None for machine in MACHINES)


def build(folder: Path = FOLDER) -> None:
    """Make the libraries that are missing or out of date; raises `CalledProcessError` where the compiler fails."""
    outdated = [machine for machine in MACHINES if complaint(library(machine, folder))]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda machine: _provide(machine, library(machine, folder)), outdated))


def _provide(machine: str, target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".build-", dir=target.parent) as folder:
        library = Path(folder) / target.name
        cached = _cached_library(machine)
        if cached:
            shutil.copyfile(cached, library)
        else:
            _compile(machine, library)
            with suppress(OSError):  # a cache that cannot be written costs the next checkout some seconds
                _keep(machine, library)
        library.chmod(0o644)
        os.replace(library, target)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xgbpatch" / "native"


def _cached_library(machine: str) -> Path | None:
    """The library in the user's cache; its name holds the digests of its sources and of itself."""
    for path in _cache().glob(f"{machine}-{digest()}-*.so"):
        with suppress(OSError):
            if path.stem.endswith(hashlib.sha256(path.read_bytes()).hexdigest()):
                return path
    return None


def _keep(machine: str, library: Path) -> None:
    _cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=_cache()) as folder:
        copy = shutil.copyfile(library, Path(folder) / library.name)
        os.replace(copy, _cache() / f"{machine}-{digest()}-{hashlib.sha256(copy.read_bytes()).hexdigest()}.so")


def _compile(machine: str, output: Path) -> None:
    # relative names, and the folder of the sources as working directory: no path of this machine gets into the file
    sources = sorted(path.name for path in SOURCES.glob("*.c"))
    definition = f'-DXGBPATCH_SOURCES="{digest()}"'
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", f"{machine}-linux-gnu.2.17"]
    subprocess.run([*zig, *FLAGS, definition, "-o", str(output), *sources, "-lm"], cwd=SOURCES, check=True)


if __name__ == "__main__":
    build()
