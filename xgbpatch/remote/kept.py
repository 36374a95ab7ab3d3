"""The few files of a layer whose content tells what an image is: which they are, and what of them is kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import IO

LARGEST_FILE = 4 << 20  # bytes; the largest that is really there is a METADATA of a tenth of it

Keeper = Callable[[IO[bytes]], bytes]

_PIECE = 1 << 18
_LINE = 1 << 14
_OVERLAP = 256
_LIBC = re.compile(rb"GNU C Library [^\n\0]{0,120} version (\d+\.\d+)")
_PYTHON = re.compile(rb"(?<![\d. ])(3\.\d{1,2}\.\d{1,3}(?:(?:a|b|rc)\d{1,2})?\+?)\0")  # linkers merge equal ends
_DEBIAN = re.compile(rb"Version: (?:\d+:)?(\d+\.\d+)")


class FileTooLargeError(ValueError):
    """A file is much larger than any of its kind."""


def keeper(path: str) -> Keeper | None:
    """What keeps the content of the file at `path` (relative to the root); None for the many that tell nothing."""
    return next((keep for pattern, keep in _KEEPERS if pattern.search(path)), None)


def _whole(stream: IO[bytes]) -> bytes:
    content = stream.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise FileTooLargeError(f"more than {LARGEST_FILE >> 20} MiB")
    return content


def _header(stream: IO[bytes]) -> bytes:
    """The lines before the first empty one: a distribution's fields, without its description."""
    content = bytearray()
    while line := stream.readline(_LINE):
        if line in (b"\n", b"\r\n") and (not content or content.endswith(b"\n")):
            break
        content += line
        if len(content) > LARGEST_FILE:
            raise FileTooLargeError(f"fields of more than {LARGEST_FILE >> 20} MiB")
    return bytes(content)


def _first_line(stream: IO[bytes]) -> bytes:
    return stream.readline(1024)


def _debian_libc(stream: IO[bytes]) -> bytes:
    """The version of glibc by dpkg's records, as `2.36`; empty where the package is not installed."""
    package = b""
    while line := stream.readline(_LINE):
        if line.startswith(b"Package: "):
            package = line
        elif package == b"Package: libc6\n" and (found := _DEBIAN.match(line)):
            return found[1]
    return b""


def _matches(pattern: re.Pattern[bytes]) -> Keeper:
    """The first group of every match in a program, a line each, each once."""

    def keep(stream: IO[bytes]) -> bytes:
        found: dict[bytes, None] = {}
        window = b""
        while piece := stream.read(_PIECE):
            window = window[-_OVERLAP:] + piece
            found.update(dict.fromkeys(match[1] for match in pattern.finditer(window)))
            if len(found) > 1000:
                raise FileTooLargeError("too many versions in one program")
        return b"\n".join(found)

    return keep


_KEEPERS: tuple[tuple[re.Pattern[str], Keeper], ...] = (
    (re.compile(r"\.dist-info/METADATA$|\.egg-info(/PKG-INFO)?$"), _header),
    (re.compile(r"\.egg-info/requires\.txt$|(^|/)pyvenv\.cfg$|/python3\.\d+m?/patchlevel\.h$"), _whole),
    (re.compile(r"(^|/)(sagemaker_xgboost_container|sagemaker_algorithm_toolkit)/.*\.py$"), _whole),
    (re.compile(r"(^|/)(serve|train)$"), _first_line),
    (re.compile(r"^var/lib/dpkg/status$"), _debian_libc),
    (re.compile(r"(^|/)libc(\.so\.6|-2\.\d+\.so)$"), _matches(_LIBC)),
    (re.compile(r"(^|/)(python3\.\d+m?|libpython3\.\d+m?\.so(\.1\.0)?)$"), _matches(_PYTHON)),
)
