"""The wheels of a stand-in base, made once with this machine's pip and kept in the user's cache."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from xgbpatch.errors import SandboxError
from xgbpatch.progress import Progress
from xgbpatch.standin.cache import cache_folder
from xgbpatch.standin.debian_packages import install
from xgbpatch.standin.interpreter import Interpreter

_TOOLS = ("pip>=23", "setuptools<81", "wheel")  # retrying, psutil and sagemaker-containers come as sources
_BUILT_BY_OTHERS = (  # compiled by their makers only: too long, or too much to ask, for a stand-in
    "bcrypt,cffi,cryptography,gevent,greenlet,numpy,pandas,protobuf,PyNaCl,PyYAML,scikit-learn,scipy,xgboost"
)


@dataclass(frozen=True)
class Wheelhouse:
    """A folder of wheels for one interpreter, and the pins that had to give way to it (`wanted -> got`)."""

    folder: Path
    moved: tuple[str, ...]

    @property
    def wheels(self) -> tuple[Path, ...]:
        """Every wheel in it, by name."""
        return tuple(sorted(self.folder.glob("*.whl")))


def fill_wheelhouse(pins: Sequence[str], interpreter: Interpreter, progress: Progress) -> Wheelhouse:
    """The wheels of `pins` (`name==version`) and no others, for `interpreter`; raises `SandboxError` where pip fails.

    A pin without a wheel for an interpreter other than the official one gives way to a newer release.
    """
    folder = cache_folder() / hashlib.sha256("\n".join((interpreter.version, *pins)).encode()).hexdigest()[:20]
    if not folder.is_dir():
        _require_compiler(interpreter, progress)
        progress.line(f"wheels for Python {interpreter.version}: about a minute, once")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="wheels-", dir=folder.parent) as scratch:
            _fill(Path(scratch), pins, interpreter)
            shutil.move(str(Path(scratch) / "wheels"), folder)
    return Wheelhouse(folder, _moved(pins, folder))


def _require_compiler(interpreter: Interpreter, progress: Progress) -> None:
    """Two of the pins come as sources with a little C: a compiler, and Python's headers, which Debian packs apart."""
    question = "import pathlib, sysconfig; print(pathlib.Path(sysconfig.get_path('include'), 'Python.h').is_file())"
    asked = [str(interpreter.executable), "-I", "-c", question]
    headers = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() == "True"
    missing = [] if shutil.which("gcc") else ["gcc", "libc6-dev"]
    missing += [] if headers else [f"python{interpreter.minor}-dev"]
    if missing:
        install(missing, progress)


def _fill(scratch: Path, pins: Sequence[str], interpreter: Interpreter) -> None:
    python = _environment(scratch / "venv", interpreter)
    wheels = str(scratch / "wheels")
    failure = _pip(python, "wheel", "--quiet", "--no-deps", "--wheel-dir", wheels, *pins)
    if failure:
        _relax(python, wheels, pins)


def _relax(python: Path, wheels: str, pins: Sequence[str]) -> None:
    """Take each pin on its own, then resolve those that failed beside the ones that did not."""
    binary = ("--only-binary", _BUILT_BY_OTHERS, "--prefer-binary")
    failed = [pin for pin in pins if _pip(python, "wheel", "--quiet", "--no-deps", *binary, "--wheel-dir", wheels, pin)]
    kept = [pin for pin in pins if pin not in failed]
    constraints = Path(wheels).parent / "constraints.txt"
    constraints.write_text("\n".join(kept), encoding="utf-8")
    wanted = [pin.replace("==", ">=") for pin in failed]
    options = ("--quiet", *binary, "--constraint", str(constraints), "--find-links", wheels, "--wheel-dir", wheels)
    failure = _pip(python, "wheel", *options, *wanted)
    if failure:
        raise SandboxError(
            f'no wheels of "{", ".join(failed)}" for "{python}": {failure}',
            "Can pip reach a package index? Sources need a C compiler: apt-get install gcc.",
        )


def _environment(folder: Path, interpreter: Interpreter) -> Path:
    done = subprocess.run(
        [str(interpreter.executable), "-m", "venv", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SandboxError(
            f'"{interpreter.executable} -m venv" failed: {_last_line(done.stdout + done.stderr)}',
            "apt-get install python3-venv",
        )
    python = folder / "bin" / "python"
    failure = _pip(python, "install", "--quiet", "--upgrade", *_TOOLS)
    if failure:
        raise SandboxError(f"pip could not install {', '.join(_TOOLS)}: {failure}", "Can pip reach a package index?")
    return python


def _pip(python: Path, *arguments: str) -> str:
    """Run pip; returns its last line of complaint, or nothing when it was content."""
    command = [str(python), "-m", "pip", *arguments, "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (_last_line(done.stderr) or "it failed without a word") if done.returncode else ""


def _moved(pins: Sequence[str], folder: Path) -> tuple[str, ...]:
    held = dict(_name_and_version(wheel.name) for wheel in folder.glob("*.whl"))
    wanted = {_canonical(name): version for name, version in (pin.split("==") for pin in pins)}
    gone = (f"{name} {version} -> {held.get(name, 'none')}" for name, version in wanted.items())
    return tuple(text for text, name in zip(gone, wanted, strict=True) if not _same(held.get(name), wanted[name]))


def _same(held: str | None, wanted: str) -> bool:
    from packaging.version import Version

    return held is not None and Version(held) == Version(wanted)


def _name_and_version(file_name: str) -> tuple[str, str]:
    name, version = file_name.split("-")[:2]
    return _canonical(name), version


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
