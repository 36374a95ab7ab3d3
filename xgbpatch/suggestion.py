"""The second half of an error about a wrong word: what was probably meant, and what is allowed."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches


def nearest(word: str, allowed: Collection[str]) -> str | None:
    """The allowed word closest to `word`, letter case aside, or None when nothing is close."""
    lowered = {choice.lower(): choice for choice in allowed}
    found = get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    return lowered[found[0]] if found else None


def choose_from(word: str, allowed: Collection[str]) -> str:
    """A next step: the nearest match as a question, then every allowed word."""
    meant = nearest(word, allowed)
    question = f'Did you mean "{meant}"? ' if meant else ""
    return f"{question}Allowed: {', '.join(allowed)}."
