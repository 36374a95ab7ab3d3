"""How a base differs from the one that a patch was made for, in what the patch relies on. Pure.

A change in the body of a hooked function counts: whether the patch still holds on it is for a person to say. Comments,
docstrings and layout do not count, nor does anything that no hook touches.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from xgbpatch.inspection.facts import Facts, UpstreamModule
from xgbpatch.patch import hooks
from xgbpatch.patch.hooks import Hook

_SHOWN_LINES = 80


class DriftKind(Enum):
    """Which clause of the agreement between patch and base is broken."""

    XGBOOST = "xgboost"
    PYTHON = "python"
    PLACE = "place of Python"
    REPLACED = "replaced module"
    GONE = "hook gone"
    APPEARED = "hook appeared"
    PARAMETERS = "parameters of a hook"
    CHANGED = "hook changed"


@dataclass(frozen=True)
class DriftFinding:
    """A broken clause, in words that name its operand; `difference` is a unified diff where both texts are known."""

    kind: DriftKind
    words: str
    difference: str = ""


@dataclass(frozen=True)
class BaseSnapshot:
    """A base as a patch stands on it: `entries` as the label `io.xgbpatch.hooks` has them, and the modules' texts where
    they are known."""

    entries: tuple[str, ...]
    modules: Mapping[str, UpstreamModule] = field(default_factory=dict, repr=False)


def snapshot_of(facts: Facts, entries: Sequence[str]) -> BaseSnapshot:
    """The base with `facts`, as an image with the label `entries` would stand on it."""
    return BaseSnapshot(hooks.recompute(entries, facts), facts.modules)


def compare(old: BaseSnapshot, new: BaseSnapshot) -> tuple[DriftFinding, ...]:
    """Every clause that `new` breaks. What one of the two does not tell is no clause."""
    before, after = (dict(entry.partition("=")[::2] for entry in snapshot.entries) for snapshot in (old, new))
    return tuple(
        finding
        for key, value in before.items()
        if key in after and after[key] != value
        for finding in _findings(key, (value, after[key]), (old, new))
    )


def _findings(
    key: str, values: tuple[str, str], snapshots: tuple[BaseSnapshot, BaseSnapshot]
) -> Iterator[DriftFinding]:
    old, new = values
    match key:
        case hooks.XGBOOST:
            yield DriftFinding(DriftKind.XGBOOST, f'the base has xgboost "{new}", the image was made for "{old}"')
        case hooks.PYTHON:
            yield DriftFinding(DriftKind.PYTHON, f'the base has Python "{new}", the image was made for "{old}"')
        case hooks.EXECUTABLE | hooks.SITE_PACKAGES:
            what = "interpreter is" if key == hooks.EXECUTABLE else "packages lie in"
            yield DriftFinding(DriftKind.PLACE, f'the base\'s {what} "{new}", and "{old}" when the image was made')
        case _:
            yield _of_hook(Hook.parse(key), values, snapshots)


def _of_hook(hook: Hook, values: tuple[str, str], snapshots: tuple[BaseSnapshot, BaseSnapshot]) -> DriftFinding:
    texts = [_text(hook, snapshot) for snapshot in snapshots]
    difference = _difference(*texts) if all(texts) else ""
    if hook.name == hooks.WHOLE:
        return DriftFinding(DriftKind.REPLACED, f'"{hook.module}", which the image replaces, has changed', difference)
    if values[1] == hooks.MISSING:
        return DriftFinding(DriftKind.GONE, f'"{hook.key}" is gone')
    if values[0] == hooks.MISSING:
        return DriftFinding(DriftKind.APPEARED, f'"{hook.key}" is new: the patch was made for a base without it')
    old, new = (_parameters(hook, snapshot) for snapshot in snapshots)
    if old and new and old != new:
        return DriftFinding(
            DriftKind.PARAMETERS, f'"{hook.key}" takes other parameters: {old} before, now {new}', difference
        )
    return DriftFinding(DriftKind.CHANGED, f'"{hook.key}" has changed', difference)


def _text(hook: Hook, snapshot: BaseSnapshot) -> str:
    module = snapshot.modules.get(hook.module)
    if module is None or hook.name == hooks.WHOLE:
        return module.source if module else ""
    try:
        return hooks.excerpt(module.source, hook.name)
    except SyntaxError:
        return module.source


def _parameters(hook: Hook, snapshot: BaseSnapshot) -> str:
    module = snapshot.modules.get(hook.module)
    try:
        return hooks.parameters(module.source, hook.name) if module else ""
    except SyntaxError:
        return ""


def _difference(old: str, new: str) -> str:
    lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), "old base", "new base", lineterm="", n=3))
    rest = len(lines) - _SHOWN_LINES
    return "\n".join(lines[:_SHOWN_LINES] + ([f"… and {rest} more lines"] if rest > 0 else []))
