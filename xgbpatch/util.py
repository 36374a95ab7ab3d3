"""Small things that every layer may use: whole files, a lock, TOML, and what a misspelt word meant."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    from tomllib import TOMLDecodeError, loads
else:
    from tomli import TOMLDecodeError, loads

__all__ = ["TOMLDecodeError", "load_data", "loads"]


def atomic_write(path: Path, content: bytes) -> None:
    """Put `content` at `path` in one step; its folder is made where it is missing.

    The file is on the disk before it has its name: not even a machine that loses its power leaves half of it there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{secrets.token_hex(8)}.part")  # a process ID is not unique where containers share a folder
    try:
        with part.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        error.filename = str(path)  # a full disk names none
        raise
    finally:
        part.unlink(missing_ok=True)


def write_new_file(path: Path, text: str, force: bool) -> None:
    """Raises `FileExistsError` where `path` is there and `force` is not given, and `OSError` as the system does."""
    with tempfile.TemporaryDirectory(prefix=".xgbpatch-", dir=path.parent) as folder:
        part = Path(folder) / path.name
        part.write_text(text, encoding="utf-8")
        part.replace(path) if force else os.link(part, path)  # link() alone refuses an existing name without a race


@contextmanager
def locked_path(path: Path) -> Iterator[None]:
    """Wait for, and hold, an advisory lock on a file or directory itself, so that no lock file is left behind."""
    import fcntl  # Unix alone has it

    while True:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                yield
                return
        finally:  # also where another has replaced it while we waited
            os.close(descriptor)


def load_data(name: str) -> dict[str, Any]:
    """A table of the package's own data folder, such as `versions.toml`."""
    return dict(loads(files("xgbpatch").joinpath("data").joinpath(name).read_text(encoding="utf-8")))


def nearest_word(word: str, allowed: Collection[str]) -> str | None:
    """The allowed word closest to `word`, letter case aside, or that begins with it; None when nothing is close."""
    lowered = {choice.lower(): choice for choice in allowed}
    matches = get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    matches = matches or [choice for choice in lowered if word and choice.startswith(word.lower())]
    return lowered[matches[0]] if matches else None


def did_you_mean(word: str, allowed: Collection[str]) -> str:
    """The next step of an error about a wrong word: the nearest match as a question, then every allowed word."""
    meant = nearest_word(word, allowed)
    question = f'Did you mean "{meant}"? ' if meant else ""
    return f"{question}Allowed: {', '.join(allowed)}."
