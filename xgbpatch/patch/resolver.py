"""Resolving packages for a base: its Python, platform and installed distributions, none of which may move."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from xgbpatch.errors import ExtraMissingError, PackageError
from xgbpatch.inspection.facts import Facts, PythonFacts
from xgbpatch.util import loads

# The manylinux levels that uv can be told (`uv pip compile --python-platform`), as glibc minor versions.
_UV_LEVELS = (17, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40)


@dataclass(frozen=True)
class Pin:
    """One wheel, exactly: canonical name, version, file name, where it is and its sha256 (hexadecimal)."""

    name: str
    version: str
    filename: str
    url: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


@dataclass(frozen=True)
class Request:
    """PEP 508 requirements for one base; `alone` takes just these and no dependency of theirs.

    `beside` are pins already chosen, which the answer must not contradict.
    """

    requirements: tuple[str, ...]
    alone: bool = False
    beside: tuple[Pin, ...] = ()


def resolve(request: Request, facts: Facts) -> tuple[Pin, ...]:
    """The wheels to put beside the base, by name; distributions that the base already holds are left out.

    Raises `PackageError` with the resolver's words (they name both sides) when a base distribution would have to move
    or no wheel fits; `ExtraMissingError` without uv.
    """
    if not request.requirements:
        return ()
    lock = _lock(request, facts)
    wanted = [entry for entry in lock if canonicalize_name(entry["name"]) not in facts.distributions]
    return tuple(_pin(entry, facts.python) for entry in sorted(wanted, key=lambda entry: str(entry["name"])))


def supported_tags(python: PythonFacts) -> list[Tag]:
    """The wheel tags that the base's interpreter takes, best first (PEP 425, PEP 600), from its own glibc."""
    platforms = _platforms(python)
    return [*cpython_tags(python.minor, platforms=platforms), *compatible_tags(python.minor, platforms=platforms)]


def _platforms(python: PythonFacts) -> list[str]:
    newest = _glibc_minor(python)
    oldest = 5 if python.machine == "x86_64" else 17
    tags: list[str] = []
    for minor in range(newest, oldest - 1, -1):
        tags.append(f"manylinux_2_{minor}_{python.machine}")
        legacy = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}.get(minor)
        tags += [f"{legacy}_{python.machine}"] if legacy else []
    return [*tags, f"linux_{python.machine}"]


def _glibc_minor(python: PythonFacts) -> int:
    try:
        return int(python.glibc.split(".")[1])
    except (IndexError, ValueError):
        raise PackageError(
            f'the base\'s C library "{python.glibc or "unknown"}" is not glibc', "No wheel can be chosen for it."
        ) from None


def _lock(request: Request, facts: Facts) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="xgbpatch-packages-") as folder:
        requirements, constraints = Path(folder, "requirements.in"), Path(folder, "base.txt")
        lock = Path(folder, "pylock.toml")
        requirements.write_text("\n".join(request.requirements) + "\n", encoding="utf-8")
        constraints.write_text(_constraints(request, facts), encoding="utf-8")
        arguments = ["pip", "compile", str(requirements), "--constraint", str(constraints), "--output-file", str(lock)]
        _run([_uv(), *arguments, *_options(request, facts.python)], request)
        return list(loads(lock.read_text(encoding="utf-8"))["packages"])


def _options(request: Request, python: PythonFacts) -> list[str]:
    level = max(level for level in _UV_LEVELS if level <= max(17, _glibc_minor(python)))
    return [
        "--quiet", "--no-header", "--no-config", "--no-python-downloads", "--format=pylock.toml", "--only-binary=:all:",
        f"--python-version={python.version}", f"--python-platform={python.machine}-manylinux_2_{level}",
        *(["--no-deps"] if request.alone else []),
    ]  # fmt: skip


def _constraints(request: Request, facts: Facts) -> str:
    """Every base distribution and earlier pin at its version. A request that is taken alone may differ from the base's
    metadata only by what it leaves out, so it is held to the same lines."""
    pins = [f"{d.name}=={d.version}" for d in facts.distributions.values()] + [str(pin) for pin in request.beside]
    return "\n".join(pins) + "\n"


def _uv() -> str:
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if not found:
        raise ExtraMissingError("resolving packages", "packages")
    return found


def _run(command: list[str], request: Request) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise PackageError(
            f'"{" ".join(request.requirements)}" cannot be put beside the base, whose distributions stay as they are:\n'
            f"{result.stderr.strip()}",
            "Ask for a version that fits the base (xgbpatch inspect lists what it holds).",
        )


def _pin(entry: dict[str, Any], python: PythonFacts) -> Pin:
    rank = {tag: place for place, tag in enumerate(supported_tags(python))}
    usable: list[tuple[int, Pin]] = []
    for wheel in entry.get("wheels", []):
        pin = _wheel(entry, wheel)
        places = [rank[tag] for tag in parse_wheel_filename(pin.filename)[3] if tag in rank]
        usable += [(min(places), pin)] if places else []
    if not usable:
        raise PackageError(
            f'"{entry["name"]}=={entry["version"]}" has no wheel for Python {python.version} on glibc {python.glibc}',
            "Ask for another version.",
        )
    return min(usable, key=lambda item: item[0])[1]


def _wheel(entry: dict[str, Any], wheel: dict[str, Any]) -> Pin:
    url = wheel.get("url") or Path(wheel["path"]).absolute().as_uri()
    filename = wheel.get("name") or unquote(urlsplit(url).path.rsplit("/", 1)[-1])
    return Pin(str(canonicalize_name(entry["name"])), entry["version"], filename, url, wheel["hashes"]["sha256"])
