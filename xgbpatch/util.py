"""Small things that every layer may use: whole files, a lock, TOML, tables of text, and what a misspelt word meant."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    from tomllib import TOMLDecodeError, loads
else:
    from tomli import TOMLDecodeError, loads

__all__ = ["TOMLDecodeError", "load_data", "loads"]
_GAP = "  "
_NARROWEST = 8  # columns of a table are not made narrower


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


# Tables for people: as wide as the terminal or COLUMNS. Nothing is ever cut off. In a file or a pipe they are 80
# columns wide, and no word is broken, so that `grep` finds names.


def table(rows: Sequence[Sequence[str]], colours: Mapping[str, str] | None = None) -> str:
    """Columns two blanks apart. Where they do not fit, those are made narrower that can wrap between words, then those
    where the fewest words break. `colours` are for words of the first column. All rows have the same length."""
    columns = list(zip(*rows, strict=True))
    widths = [max(1, *map(len, column)) for column in columns]
    words = [[max(map(len, cell.split()), default=0) for cell in column] for column in columns]
    narrowest = [_NARROWEST if _asked_width() else max(_NARROWEST, *lengths) for lengths in words]
    while sum(widths) > _width() - len(_GAP) * (len(widths) - 1):
        wide = [number for number, width in enumerate(widths) if width > narrowest[number]]
        if not wide:
            break
        broken = {number: sum(word >= widths[number] for word in words[number]) for number in wide}
        widths[min(wide, key=lambda number: (broken[number], -widths[number]))] -= 1
    return "\n".join(line for row in rows for line in _lines(row, widths, colours or {}))


def labelled(rows: Sequence[tuple[str, str]], indent: str = "") -> str:
    """A line `label  text` each, the text wrapped below itself. No word is broken: a name or an address stays whole."""
    width = max(len(label) for label, _ in rows)
    return "\n".join(
        textwrap.fill(
            text, _width(), initial_indent=f"{indent}{label:{width}}{_GAP}",
            subsequent_indent=indent + " " * width + _GAP, break_long_words=False, break_on_hyphens=False,
        )
        or f"{indent}{label}"
        for label, text in rows
    )  # fmt: skip


def _lines(row: Sequence[str], widths: Sequence[int], colours: Mapping[str, str]) -> Iterator[str]:
    cells = (textwrap.wrap(cell, width, break_on_hyphens=False) for cell, width in zip(row, widths, strict=True))
    for parts in zip_longest(*cells, fillvalue=""):
        line = _GAP.join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip()
        colour = colours.get(parts[0])
        yield _coloured(parts[0], colour) + line[len(parts[0]) :] if colour else line


def _coloured(word: str, colour: str) -> str:
    import click  # scripts/setup reads settings before anything is installed

    return click.style(word, fg=colour)


def _width() -> int:
    return _asked_width() or 80


def _asked_width() -> int:
    """That of COLUMNS, else of the terminal; 0 where there is neither."""
    return shutil.get_terminal_size((0, 0)).columns
