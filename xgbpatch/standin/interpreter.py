"""The Python of this machine that a stand-in base takes in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from xgbpatch.errors import SandboxError

_OLDEST = (3, 7)
_ASK = """
import json, os, sys, sysconfig
print(json.dumps({
    "version": sys.version.split()[0],
    "executable": os.path.realpath(os.path.join(sys.base_prefix, "bin", "python%d.%d" % sys.version_info[:2])),
    "stdlib": sysconfig.get_path("stdlib"),
    "library": os.path.join(sysconfig.get_config_var("LIBDIR") or "", sysconfig.get_config_var("INSTSONAME") or ""),
    "prefix": sys.base_prefix,
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A CPython on this machine: its exact version and the parts that move into an image.

    `library` is its shared library, or None where it is linked into the executable.
    """

    version: str
    executable: Path
    stdlib: Path
    library: Path | None

    @property
    def minor(self) -> str:
        """For instance `3.8`."""
        return ".".join(self.version.split(".")[:2])

    @property
    def distribution(self) -> bool:
        """True for the system's own Python, whose packages lie elsewhere unless it works through a venv."""
        return self.stdlib.parent == Path("/usr/lib")


def find_interpreter(minor: str) -> Interpreter:
    """The machine's Python of that minor, else the nearest one; raises `SandboxError` where there is none at all."""
    exact = next(_found((minor,)), None)
    if exact is not None:
        return exact
    others = sorted(_found(_minors()), key=lambda found: _distance(found.minor, minor))
    if not others:
        raise SandboxError(
            f'no Python for a stand-in base that wants "{minor}"', "apt-get install python3 python3-venv"
        )
    return others[0]


def _minors() -> tuple[str, ...]:
    return tuple(f"3.{minor}" for minor in range(_OLDEST[1], 20))


def _distance(minor: str, wanted: str) -> tuple[int, int]:
    """Nearest first; of two equally near ones the newer, for which wheels are likelier."""
    gap = int(minor.split(".")[1]) - int(wanted.split(".")[1])
    return abs(gap), -gap


def _found(minors: tuple[str, ...]) -> Iterator[Interpreter]:
    for minor in minors:
        for candidate in _candidates(minor):
            found = _ask(candidate)
            if found is not None and found.minor == minor:
                yield found
                break


def _candidates(minor: str) -> Iterator[str]:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted((str(path) for path in pyenv.glob(f"versions/{minor}.*/bin/python{minor}")), reverse=True)
    for name in (f"python{minor}", "python3"):
        yield from filter(None, (shutil.which(name), shutil.which(name, path="/usr/local/bin:/usr/bin")))
    yield sys.executable
    if shutil.which("uv"):
        answer = _output(["uv", "python", "find", "--no-python-downloads", minor])
        yield from answer.splitlines()[:1]


def _ask(executable: str) -> Interpreter | None:
    """What that executable says of itself; None for one that does not run or whose parts do not lie together."""
    answer = _output([executable, "-I", "-c", _ASK])
    if not answer:
        return None
    said = json.loads(answer)
    library = Path(said["library"])
    shared = library.suffix != ".a" and library.is_file()
    found = Interpreter(said["version"], Path(said["executable"]), Path(said["stdlib"]), library if shared else None)
    return found if found.executable.is_file() and (found.stdlib / "os.py").is_file() else None


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
