"""Tables of text and of Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def of(lines: Sequence[Sequence[str]], markdown: bool) -> str:
    """`lines`, the first of which are the headings, in columns, or as Markdown."""
    if markdown:
        head, *rest = ["| " + " | ".join(line) + " |" for line in lines]
        return "\n".join((head, "|" + " --- |" * len(lines[0]), *rest))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
