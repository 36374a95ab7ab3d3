"""The stand-in's interpreter and wheels: found, downloaded or built, and installed."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory

from xgbpatch.errors import SandboxError
from xgbpatch.progress import Progress


def cache_folder() -> Path:
    """The folder of the user's cache (XDG base directory specification) that holds wheels and Debian packages."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xgbpatch" / "standin"


# Debian packages that making a stand-in base needs on this machine, installed where they are missing.


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


# The Python of this machine that a stand-in base takes in.


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


def _distance(minor: str, base_minor: str) -> tuple[int, int]:
    """Nearest first; of two equally near ones the newer, for which wheels are likelier."""
    gap = int(minor.split(".")[1]) - int(base_minor.split(".")[1])
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


# The one wheel of AWS's two packages as we wrote them: `sagemaker_xgboost_container` 2.0.


_NAME = "sagemaker_xgboost_container"
_INFO = f"{_NAME}-2.0.dist-info"
_METADATA = f"Metadata-Version: 2.1\nName: {_NAME}\nVersion: 2.0\nSummary: Stand-in by xgbpatch, not by AWS\n"
_WHEEL = "Wheel-Version: 1.0\nGenerator: xgbpatch\nRoot-Is-Purelib: true\nTag: py2-none-any\nTag: py3-none-any\n"
_SCRIPTS = f"[console_scripts]\nserve = {_NAME}.serving:serving_entrypoint\n"
_MOMENT = (2024, 1, 1, 0, 0, 0)


def write_own_wheel(folder: Path) -> Path:
    """The wheel, in `folder`; the same bytes for the same sources."""
    path = folder / f"{_NAME}-2.0-py2.py3-none-any.whl"
    members = [*_sources(), (f"{_INFO}/METADATA", _METADATA.encode()), (f"{_INFO}/WHEEL", _WHEEL.encode())]
    members.append((f"{_INFO}/entry_points.txt", _SCRIPTS.encode()))
    record = "".join(f"{name},sha256={_hash(content)},{len(content)}\n" for name, content in members)
    members.append((f"{_INFO}/RECORD", f"{record}{_INFO}/RECORD,,\n".encode()))
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name, _MOMENT), content)
    return path


def _sources() -> Iterator[tuple[str, bytes]]:
    with as_file(files(__package__) / "source") as source:
        for path in sorted(source.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
                yield path.relative_to(source).as_posix(), path.read_bytes()


def _hash(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


# Wheels unpacked the way pip would, into a folder of this machine that mirrors the image.


@dataclass(frozen=True)
class Prefix:
    """Where Python looks in the image: `/miniconda3` or `/opt/venv`, and the minor that runs there."""

    path: str
    minor: str

    @property
    def executable(self) -> str:
        return f"{self.path}/bin/python{self.minor}"

    @property
    def site_packages(self) -> str:
        """The real folder, links followed."""
        return f"{self.path}/lib/python{self.minor}/site-packages"

    def scheme(self, distribution: str) -> Mapping[str, str]:
        """The installation paths of Python's `posix_prefix` scheme."""
        return {
            "purelib": self.site_packages,
            "platlib": self.site_packages,
            "scripts": f"{self.path}/bin",
            "data": self.path,
            "headers": f"{self.path}/include/python{self.minor}/{distribution}",
        }


def install_wheel(wheel: Path, prefix: Prefix, root: Path) -> None:
    """Unpack `wheel` below `root` as if that were `/`; scripts of an earlier wheel with the same name are replaced."""
    from installer import install
    from installer.destinations import SchemeDictionaryDestination
    from installer.sources import WheelFile

    with WheelFile.open(wheel) as source:
        destination = SchemeDictionaryDestination(
            dict(prefix.scheme(source.distribution)),
            interpreter=prefix.executable,
            script_kind="posix",
            destdir=str(root),
            overwrite_existing=True,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # byte code that a wheel ships by mistake is left out
            install(source=source, destination=destination, additional_metadata={"INSTALLER": b"pip\n"})


# The wheels of a stand-in base, made once with this machine's pip and kept in the user's cache.


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


def _same(installed: str | None, pinned: str) -> bool:
    from packaging.version import Version

    return installed is not None and Version(installed) == Version(pinned)


def _name_and_version(file_name: str) -> tuple[str, str]:
    name, version = file_name.split("-")[:2]
    return _canonical(name), version


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
