"""Packages for the image: what the features and the user ask for, resolved, fetched, unpacked and slimmed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from xgbpatch import cache
from xgbpatch.errors import ExtraMissingError, PackageError
from xgbpatch.inspection.facts import Facts, PythonFacts
from xgbpatch.patch import indexes
from xgbpatch.patch.features import feature
from xgbpatch.progress import Progress
from xgbpatch.spec import Spec
from xgbpatch.util import loads

_FORMAT = 1  # of unpacked trees: raise it when the same pins give another


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
class Provision:
    """The pins, and the folder that holds them unpacked (a wheel prefix); None where there is nothing to unpack."""

    pins: tuple[Pin, ...] = ()
    folder: Path | None = None


@dataclass(frozen=True)
class _Selection:
    pins: tuple[Pin, ...]
    slim: tuple[str, ...]
    partial: tuple[str, ...]

    @property
    def digest(self) -> str:
        lines = [f"{pin} {pin.sha256}" for pin in self.pins] + [f"slim {pattern}" for pattern in self.slim]
        lines += [f"partial {name}" for name in self.partial]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def provision(spec: Spec, facts: Facts, folder: Path, progress: Progress) -> Provision:
    """What goes beside the base. The unpacked tree is kept in the cache `folder`, under the hash of all that made it.

    Raises `PackageError` where a distribution of the base would have to move, or one of its modules be hidden.
    """
    selection = _selection(spec, facts, progress)
    if not selection.pins:
        return Provision()
    from xgbpatch.patch import wheels

    for kind in ("packages", "wheels"):
        cache.hold(folder / kind)
    tree = cache.keep_tree(
        folder / "packages" / f"{selection.digest[:32]}-{facts.python.version}-{_FORMAT}",
        lambda part: _unpack(selection, facts, part, folder=folder / "wheels", progress=progress),
    )
    wheels.refuse_shadowing(tree, facts)
    return Provision(selection.pins, tree)


def pins(spec: Spec, facts: Facts, progress: Progress) -> tuple[Pin, ...]:
    """What `provision` would put beside the base today; only resolved. Raises as `resolve`."""
    return _selection(spec, facts, progress).pins


def _selection(spec: Spec, facts: Facts, progress: Progress) -> _Selection:
    pins: tuple[Pin, ...] = ()
    slim: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()
    for name in spec.features:
        needs = feature(name).pins(facts)
        if needs.reason:
            progress.line(f'Feature "{name}" brings no packages for this base: {needs.reason}')
        if needs.requirements:
            progress.line(f"Resolving {' '.join(needs.requirements)}")
            pins += resolve(needs.requirements, facts, alone=True)
            slim += needs.slim
            partial += needs.partial
    if spec.packages:
        progress.line(f"Resolving {' '.join(spec.packages)}")
        names = {pin.name for pin in pins}
        pins += tuple(pin for pin in resolve(spec.packages, facts, beside=pins) if pin.name not in names)
    return _Selection(tuple(sorted(pins, key=lambda pin: pin.name)), slim, partial)


def _unpack(packages: _Selection, facts: Facts, tree: Path, *, folder: Path, progress: Progress) -> None:
    from xgbpatch.patch import wheels

    files = [wheels.fetch(pin, folder, progress) for pin in packages.pins]
    wheels.unpack(files, tree, facts.python)
    freed = wheels.slim(tree, packages.slim)
    wheels.undeclare(tree, packages.partial)
    progress.line(f"Unpacked {len(files)} packages" + (f", left out {freed / 1e6:.0f} MB" if freed else ""))


# Resolving for a base: its Python, platform and installed distributions, none of which may move.


# The manylinux levels that uv can be told (`uv pip compile --python-platform`), as glibc minor versions.
_UV_LEVELS = (17, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40)


def resolve(
    requirements: tuple[str, ...], facts: Facts, *, alone: bool = False, beside: tuple[Pin, ...] = ()
) -> tuple[Pin, ...]:
    """The wheels to put beside the base for PEP 508 `requirements`, by name; distributions that the base already holds
    are left out. `alone` takes just these and no dependency of theirs; the pins `beside` are not contradicted.

    Raises `PackageError` with the resolver's words (they name both sides) when a base distribution would have to move
    or no wheel fits; `ExtraMissingError` without uv.
    """
    if not requirements:
        return ()
    # Every base distribution and earlier pin at its version. What is taken alone may differ from the base's metadata
    # only by what it leaves out, so it is held to the same lines.
    constraints = [*(f"{each.name}=={each.version}" for each in facts.distributions.values()), *map(str, beside)]
    lock = _lock(requirements, constraints, facts.python, alone=alone)
    missing = [entry for entry in lock if canonicalize_name(entry["name"]) not in facts.distributions]
    return tuple(_pin(entry, facts.python) for entry in sorted(missing, key=lambda entry: str(entry["name"])))


def supported_tags(python: PythonFacts) -> list[Tag]:
    """The wheel tags that the base's interpreter takes, best first (PEP 425, PEP 600), from its own glibc."""
    oldest = 5 if python.machine == "x86_64" else 17
    platforms: list[str] = []
    for minor in range(_glibc_minor(python), oldest - 1, -1):
        platforms.append(f"manylinux_2_{minor}_{python.machine}")
        legacy = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}.get(minor)
        platforms += [f"{legacy}_{python.machine}"] if legacy else []
    platforms.append(f"linux_{python.machine}")
    return [*cpython_tags(python.minor, platforms=platforms), *compatible_tags(python.minor, platforms=platforms)]


def _glibc_minor(python: PythonFacts) -> int:
    try:
        return int(python.glibc.split(".")[1])
    except (IndexError, ValueError):
        raise PackageError(
            f'the base\'s C library "{python.glibc or "unknown"}" is not glibc', "No wheel can be chosen for it."
        ) from None


def _lock(
    requirements: Sequence[str], constraints: Sequence[str], python: PythonFacts, *, alone: bool
) -> list[dict[str, Any]]:
    """The packages of the lock file (PEP 751) that uv writes."""
    level = max(level for level in _UV_LEVELS if level <= max(17, _glibc_minor(python)))
    with tempfile.TemporaryDirectory(prefix="xgbpatch-packages-") as folder:
        source, base, lock = (Path(folder, name) for name in ("requirements.in", "base.txt", "pylock.toml"))
        source.write_text("\n".join(requirements) + "\n", encoding="utf-8")
        base.write_text("\n".join(constraints) + "\n", encoding="utf-8")
        Path(folder, "uv.toml").touch()  # where uv's search for a project's settings ends: only the user's own count
        environment = indexes.variables()
        command = [
            find_uv(), "pip", "compile", str(source), "--constraint", str(base), "--output-file", str(lock), "--quiet",
            "--no-header", "--project", folder, "--no-python-downloads", "--format=pylock.toml",
            "--only-binary=:all:", f"--python-version={python.version}",
            f"--python={sys.executable}",  # builds nothing; without it uv starts every Python that it finds
            f"--python-platform={python.machine}-manylinux_2_{level}", *(["--no-deps"] if alone else []),
        ]  # fmt: skip
        result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if result.returncode != 0:
            raise PackageError(
                f'"{" ".join(requirements)}" cannot be put beside the base, whose distributions stay as they are:\n'
                f"{indexes.redacted(result.stderr.strip())}",
                "Ask for a version that fits the base (xgbpatch inspect lists what it holds). Asked: "
                f"{indexes.named(environment)}, as the settings of uv, then those of pip, say.",
            )
        packages = list(loads(lock.read_text(encoding="utf-8"))["packages"])
        for wheel in (wheel for package in packages for wheel in package.get("wheels", []) if "path" in wheel):
            wheel["path"] = str(Path(folder, wheel["path"]).resolve())  # which is relative to the lock
        return packages


def find_uv() -> str:
    """The program; raises `ExtraMissingError` where there is none."""
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        program = shutil.which("uv")
    if not program:
        raise ExtraMissingError("resolving packages", "packages")
    return program


def _pin(entry: dict[str, Any], python: PythonFacts) -> Pin:
    rank = {tag: place for place, tag in enumerate(supported_tags(python))}
    usable: list[tuple[int, Pin]] = []
    for wheel in entry.get("wheels", []):
        url = wheel.get("url") or Path(wheel["path"]).as_uri()
        filename = wheel.get("name") or unquote(urlsplit(url).path.rsplit("/", 1)[-1])
        pin = Pin(str(canonicalize_name(entry["name"])), entry["version"], filename, url, wheel["hashes"]["sha256"])
        places = [rank[tag] for tag in parse_wheel_filename(pin.filename)[3] if tag in rank]
        usable += [(min(places), pin)] if places else []
    if not usable:
        raise PackageError(
            f'"{entry["name"]}=={entry["version"]}" has no wheel for Python {python.version} on glibc {python.glibc}',
            "Ask for another version.",
        )
    return min(usable, key=lambda item: item[0])[1]
