"""Installed distributions by their metadata files: METADATA and PKG-INFO, and the requires.txt of old eggs."""

from __future__ import annotations

import email.parser
import io
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Metadata:
    """The fields of a distribution that are of interest, as written; `name` and `version` may be empty."""

    name: str
    version: str
    requires: tuple[str, ...]


def parse(content: bytes) -> Metadata:
    """The fields of a METADATA or PKG-INFO file (core metadata specification)."""
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", errors="replace")
    message = email.parser.HeaderParser().parse(text)
    requires = tuple(str(line) for line in message.get_all("Requires-Dist") or ())
    return Metadata(str(message["Name"] or ""), str(message["Version"] or ""), requires)


def egg_requirements(content: bytes) -> Iterator[str]:
    """The requirements in a requires.txt of setuptools, as lines of today's form; those of extras are left out."""
    marker: str | None = ""
    for line in content.decode("utf-8", "replace").splitlines():
        if line.startswith("["):
            extra, _, condition = line.strip("[] ").partition(":")
            marker = None if extra else condition
        elif line.strip() and marker is not None:
            yield f"{line.strip()} ; {marker}" if marker else line.strip()
