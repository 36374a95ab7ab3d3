"""What a stand-in base takes from this machine: its Debian, a Python, and wheels, downloaded or built."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from xgbpatch import cache
from xgbpatch.errors import ExtraMissingError, SandboxError
from xgbpatch.patch import indexes
from xgbpatch.patch.packages import find_uv
from xgbpatch.progress import Progress
from xgbpatch.standin.versions import SUITES


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
    command = ["apt-get", "-o", "DPkg::Lock::Timeout=600", *arguments]  # another apt-get may be at work
    try:
        process = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    except FileNotFoundError:
        return "this is no Debian"
    return (_last_lines(process.stderr) or "apt-get failed") if process.returncode else ""


def _last_lines(text: str) -> str:
    return " / ".join(text.strip().splitlines()[-3:])


# The operating system below a stand-in base: this machine's own Debian release, as small as it goes.


_OMITTED = ("usr/share/man/", "usr/share/locale/", "usr/share/info/", "var/cache/", "var/lib/apt/lists/")
_MOUNTED = ("dev/", "proc/", "sys/", "run/", "tmp/")


@dataclass(frozen=True)
class Debian:
    """A Debian release, and the packages that a stand-in takes from it beyond the minimum."""

    name: str
    packages: tuple[str, ...]


def this_debian() -> Debian:
    """The release of this machine; raises `SandboxError` where it is no Debian that the table knows."""
    release = {"PRETTY_NAME": "this system"}
    with suppress(OSError):
        release = platform.freedesktop_os_release()
    name = release.get("VERSION_CODENAME", "")
    if release.get("ID") != "debian" or name not in SUITES:
        raise SandboxError(
            f'a stand-in base cannot be made on "{release["PRETTY_NAME"]}"',
            f"Use Debian ({', '.join(SUITES)}), or name a base of yours with --base-image.",
        )
    return Debian(name, SUITES[name])


@contextmanager
def debian_tree(debian: Debian, progress: Progress) -> Iterator[Path]:
    """A root file system of that release, removed when the block ends; raises `SandboxError` when debootstrap fails."""
    if os.geteuid() != 0:
        raise SandboxError("making a stand-in base needs root: debootstrap changes its root folder", "Use sudo.")
    if not shutil.which("debootstrap"):
        install(["debootstrap"], progress)
    packages = cache_folder() / "debian" / debian.name  # so that a second time is quick
    packages.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="xgbpatch-os-") as folder:
        root = Path(folder) / "root"
        progress.line(f"debootstrap {debian.name}: about a minute, once")
        mirror = _mirror(debian.name)
        options = ["--variant=minbase", f"--cache-dir={packages}", f"--include={','.join(debian.packages)}"]
        command = ["debootstrap", *options, debian.name, str(root), mirror]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode:
            raise SandboxError(
                f'debootstrap of "{debian.name}" from "{mirror}" failed: {_last_lines(process.stdout)}',
                "Is the mirror reachable, and is there 1 GB of room in the temporary folder?",
            )
        yield root


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


def _mirror(suite: str) -> str:
    """The first archive that apt is configured with for that release."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    for line in process.stdout.splitlines():
        uri, release, component = line.split()
        if release == suite and component == "main" and "security" not in uri:
            return uri
    return "http://deb.debian.org/debian/"


# The Python of this machine that a stand-in base takes in.


_OLDEST = 7  # Python 3.7
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
    """The machine's Python of that minor, else the nearest newer one, else the nearest older one; raises `SandboxError`
    where there is none at all."""
    number = int(minor.split(".")[1])
    # Where a pin has no wheel, a newer release is taken: an older Python may have none.
    for other in sorted(range(_OLDEST, 20), key=lambda each: (each < number, abs(each - number))):
        for candidate in _candidates(f"3.{other}"):
            interpreter = _ask(candidate)
            if interpreter is not None and interpreter.minor == f"3.{other}":
                return interpreter
    raise SandboxError(f'no Python for a stand-in base that wants "{minor}"', "apt-get install python3 python3-venv")


def _candidates(minor: str) -> Iterator[str]:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted((str(path) for path in pyenv.glob(f"versions/{minor}.*/bin/python{minor}")), reverse=True)
    for name in (f"python{minor}", "python3"):
        yield from filter(None, (shutil.which(name), shutil.which(name, path="/usr/local/bin:/usr/bin")))
    yield sys.executable
    with suppress(ExtraMissingError):
        answer = _output([find_uv(), "python", "find", "--no-project", "--no-python-downloads", minor])
        yield from answer.splitlines()[:1]


def _ask(executable: str) -> Interpreter | None:
    """What that executable says of itself; None for one that does not run or whose parts do not lie together."""
    answer = _output([executable, "-I", "-c", _ASK])
    if not answer:
        return None
    facts = json.loads(answer)
    library = Path(facts["library"])
    shared = library.suffix != ".a" and library.is_file()
    interpreter = Interpreter(
        facts["version"], Path(facts["executable"]), Path(facts["stdlib"]), library if shared else None
    )
    whole = interpreter.executable.is_file() and (interpreter.stdlib / "os.py").is_file()
    return interpreter if whole else None


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
    members = []
    with as_file(files(__package__) / "source") as source:
        for file in sorted(source.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".pyc":
                members.append((file.relative_to(source).as_posix(), file.read_bytes()))
    members += [(f"{_INFO}/METADATA", _METADATA.encode()), (f"{_INFO}/WHEEL", _WHEEL.encode())]
    members.append((f"{_INFO}/entry_points.txt", _SCRIPTS.encode()))
    record = ""
    for name, content in members:
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(content)}\n"
    members.append((f"{_INFO}/RECORD", f"{record}{_INFO}/RECORD,,\n".encode()))
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name, _MOMENT), content)
    return path


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


def install_wheel(wheel: Path, prefix: Prefix, root: Path) -> None:
    """Unpack `wheel` below `root` as if that were `/`; scripts of an earlier wheel with the same name are replaced."""
    from installer import install
    from installer.destinations import SchemeDictionaryDestination
    from installer.sources import WheelFile

    with WheelFile.open(wheel) as source:
        scheme = {  # Python's `posix_prefix`
            "purelib": prefix.site_packages,
            "platlib": prefix.site_packages,
            "scripts": f"{prefix.path}/bin",
            "data": prefix.path,
            "headers": f"{prefix.path}/include/python{prefix.minor}/{source.distribution}",
        }
        destination = SchemeDictionaryDestination(
            scheme,
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

    def make(part: Path) -> None:
        _require_compiler(interpreter, progress)
        progress.line(f"wheels for Python {interpreter.version}: about a minute, once")
        with TemporaryDirectory(prefix="wheels-", dir=part.parent) as scratch:
            python, wheels = _environment(Path(scratch) / "venv", interpreter), str(Path(scratch) / "wheels")
            # those that come as sources are built with `_TOOLS`, not each in an environment of its own
            if _pip(python, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, *pins):
                _relax(python, wheels, pins)
            shutil.move(wheels, part)

    folder = cache.keep(folder, make, lambda wheels: _holds_wheels(wheels, pins))
    return Wheelhouse(folder, _moved(pins, folder))


def _holds_wheels(folder: Path, pins: Sequence[str]) -> bool:
    """Whether a wheel of every pin is there, with the directory at its end; unpacking it looks at the CRCs inside."""
    from packaging.utils import canonicalize_name, parse_wheel_filename

    wheels = list(folder.glob("*.whl"))
    names = {parse_wheel_filename(wheel.name)[0] for wheel in wheels}
    return names >= {canonicalize_name(pin.split("==")[0]) for pin in pins} and all(map(zipfile.is_zipfile, wheels))


def _require_compiler(interpreter: Interpreter, progress: Progress) -> None:
    """Two of the pins come as sources with a little C: a compiler, and Python's headers, which Debian packs apart."""
    question = "import pathlib, sysconfig; print(pathlib.Path(sysconfig.get_path('include'), 'Python.h').is_file())"
    command = [str(interpreter.executable), "-I", "-c", question]
    headers = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == "True"
    missing = [] if shutil.which("gcc") else ["gcc", "libc6-dev"]
    missing += [] if headers else [f"python{interpreter.minor}-dev"]
    if missing:
        install(missing, progress)


def _relax(python: Path, wheels: str, pins: Sequence[str]) -> None:
    """Take each pin on its own, then resolve those that failed beside the ones that did not."""
    binary = ("--only-binary", _BUILT_BY_OTHERS, "--prefer-binary")
    failed = [pin for pin in pins if _pip(python, "wheel", "--quiet", "--no-deps", *binary, "--wheel-dir", wheels, pin)]
    constrained = [pin for pin in pins if pin not in failed]
    constraints = Path(wheels).parent / "constraints.txt"
    constraints.write_text("\n".join(constrained), encoding="utf-8")
    requirements = [pin.replace("==", ">=") for pin in failed]
    options = ("--quiet", *binary, "--constraint", str(constraints), "--find-links", wheels, "--wheel-dir", wheels)
    failure = _pip(python, "wheel", *options, *requirements)
    if failure:
        raise SandboxError(
            f'no wheels of "{", ".join(failed)}" for "{python}": {failure}',
            "Can pip reach a package index? Sources need a C compiler: apt-get install gcc.",
        )


def _environment(folder: Path, interpreter: Interpreter) -> Path:
    """A virtual environment with `_TOOLS`; where uv is at hand, it installs them, and no pip has to be set up first."""
    try:
        uv = find_uv()
    except ExtraMissingError:
        uv = ""
    command = [str(interpreter.executable), "-m", "venv", *(["--without-pip"] if uv else []), str(folder)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        raise SandboxError(
            f'"{interpreter.executable} -m venv" failed: {_last_line(process.stdout + process.stderr)}',
            "apt-get install python3-venv",
        )
    python = folder / "bin" / "python"
    if uv:
        (folder.parent / "uv.toml").touch()  # no project's settings count
        command = [uv, "pip", "install", "--quiet", "--project", str(folder.parent), "--python", str(python), *_TOOLS]
        process = subprocess.run(command, capture_output=True, text=True, env=indexes.variables(), check=False)
        failure = indexes.redacted(_last_line(process.stderr)) if process.returncode else ""
    else:
        failure = _pip(python, "install", "--quiet", "--upgrade", *_TOOLS)
    if failure:
        raise SandboxError(f"{', '.join(_TOOLS)} could not be installed: {failure}", "Is a package index reachable?")
    return python


def _pip(python: Path, *arguments: str) -> str:
    """Run pip; returns its last line of complaint, or nothing when it was content."""
    command = [str(python), "-m", "pip", *arguments, "--disable-pip-version-check"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    return (_last_line(process.stderr) or "it failed without a word") if process.returncode else ""


def _moved(pins: Sequence[str], folder: Path) -> tuple[str, ...]:
    from packaging.utils import canonicalize_name, parse_wheel_filename
    from packaging.version import Version

    versions = {name: version for name, version, *_ in (parse_wheel_filename(w.name) for w in folder.glob("*.whl"))}
    pinned = {canonicalize_name(name): version for name, version in (pin.split("==") for pin in pins)}
    return tuple(
        f"{name} {version} -> {versions.get(name, 'none')}"
        for name, version in pinned.items()
        if versions.get(name) != Version(version)
    )


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
