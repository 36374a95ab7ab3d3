"""Tables and labelled lines for people: as wide as the terminal or COLUMNS. Nothing is ever cut off.

In a file or a pipe they are 80 columns wide, and no word is broken, so that `grep` finds names.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest

import click

_GAP = "  "
_NARROWEST = 8  # columns are not made narrower


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
        yield click.style(parts[0], fg=colour) + line[len(parts[0]) :] if colour else line


def _width() -> int:
    return _asked_width() or 80


def _asked_width() -> int:
    """That of COLUMNS, else of the terminal; 0 where there is neither."""
    return shutil.get_terminal_size((0, 0)).columns
