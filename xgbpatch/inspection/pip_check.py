"""What `pip check` would say, without pip."""

from __future__ import annotations

import email.parser
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from xgbpatch.inspection.facts import Distribution, PythonFacts


@dataclass(frozen=True)
class CoreMetadata:
    """The fields of a distribution that are of interest, as written; `name` and `version` may be empty."""

    name: str
    version: str
    requires: tuple[str, ...]


def parse_metadata(content: bytes) -> CoreMetadata:
    """The fields of a METADATA or PKG-INFO file (core metadata specification)."""
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", errors="replace")
    message = email.parser.HeaderParser().parse(text)
    requires = tuple(str(line) for line in message.get_all("Requires-Dist") or ())
    return CoreMetadata(str(message["Name"] or ""), str(message["Version"] or ""), requires)


def egg_requirements(content: bytes) -> Iterator[str]:
    """The requirements in a requires.txt of setuptools, as lines of today's form; those of extras are left out."""
    marker: str | None = ""
    for line in content.decode("utf-8", "replace").splitlines():
        if line.startswith("["):
            extra, _, condition = line.strip("[] ").partition(":")
            marker = None if extra else condition
        elif line.strip() and marker is not None:
            yield f"{line.strip()} ; {marker}" if marker else line.strip()


# What `pip check` would say of a set of distributions on an image's Python: the same lines, nothing run.


def complaints(distributions: Iterable[Distribution], python: PythonFacts) -> tuple[str, ...]:
    """A line for each requirement that is missing or not met, sorted; lines that cannot be parsed are passed over.

    Wheels built for another platform, of which pip 24.1 and newer complain too, are not looked for.
    """
    installed = {distribution.name: distribution for distribution in distributions}
    environment = _environment(python)
    return tuple(sorted({line for each in installed.values() for line in _of(each, installed, environment)}))


def _of(
    distribution: Distribution, installed: Mapping[str, Distribution], environment: dict[str, str]
) -> Iterator[str]:
    for line in distribution.requires:
        try:
            requirement = Requirement(line)
            if requirement.marker and not requirement.marker.evaluate(environment):
                continue
        except (ValueError, RecursionError):  # of packaging, and of what it takes for a version
            continue
        name = canonicalize_name(requirement.name)
        other = installed.get(name)
        subject = f"{distribution.name} {distribution.version}"
        if other is None:
            yield f"{subject} requires {name}, which is not installed."
        elif not _met(requirement.specifier, other.version):
            yield f"{subject} has requirement {requirement}, but you have {name} {other.version}."


def _met(specifier: SpecifierSet, version: str) -> bool:
    try:
        return specifier.contains(version, prereleases=True)
    except ValueError:  # a version from before PEP 440
        return False


def _environment(python: PythonFacts) -> dict[str, str]:
    """The image's marker variables (PEP 508); none of this machine's own must show."""
    return {
        "implementation_name": "cpython",
        "implementation_version": python.version,
        "os_name": "posix",
        "platform_machine": python.machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": python.version,
        "python_version": ".".join(python.version.split(".")[:2]),
        "sys_platform": "linux",
        "extra": "",
    }
