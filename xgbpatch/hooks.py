"""What a patch relies on in its base, and a short print of each, which an image carries in its label.

The table is `data/hooks.toml`. A print is made of a definition's tokens (see `xgbpatch.definitions`): comments,
docstrings and layout do not count, so a base that was only reformatted has not drifted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from xgbpatch import definitions, toml
from xgbpatch.facts import Facts, UpstreamModule

MISSING = "missing"
WHOLE = "*"
EVERY, ANY = "every", "any"
XGBOOST = "xgboost:minor"
PYTHON = "python:minor"
EXECUTABLE = "python:executable"
SITE_PACKAGES = "python:site-packages"

_FOOTING = (XGBOOST, PYTHON, EXECUTABLE, SITE_PACKAGES)
_DIGITS = 12
_OPTIONAL = "?"


@dataclass(frozen=True, order=True)
class Hook:
    """A name of a base module, dots leading into classes. An `optional` one does not exist on every version."""

    module: str
    name: str
    optional: bool = False

    @property
    def key(self) -> str:
        """As the label names it."""
        return f"{self.module}:{self.name}"

    @classmethod
    def parse(cls, key: str) -> Hook:
        module, _, name = key.partition(":")
        return cls(module, name)


@dataclass(frozen=True)
class Seam:
    """Hooks that are needed together: by `images` ("every", "any": with a feature or a fix), or by some features and
    fixes. `overlays` are the overlay's files that touch them."""

    name: str
    images: str
    features: frozenset[str]
    fixes: frozenset[str]
    overlays: tuple[str, ...]
    hooks: tuple[Hook, ...]

    def carries(self, features: Sequence[str], fixes: Sequence[str]) -> bool:
        """Whether an image with these stands on it."""
        asked = bool(features or fixes) if self.images == ANY else self.images == EVERY
        return asked or not self.features.isdisjoint(features) or not self.fixes.isdisjoint(fixes)


@cache
def seams() -> tuple[Seam, ...]:
    """The whole table."""
    return tuple(_seam(name, row) for name, row in toml.shipped("hooks.toml").items())


def fingerprints(
    features: Sequence[str], fixes: Sequence[str], replaced: Sequence[str], modules: Mapping[str, UpstreamModule]
) -> tuple[str, ...]:
    """`module:name=<12 hexadecimal digits>` of everything the patch relies on, sorted; `=missing` where there is none.

    A module that the image replaces has one as a whole, `module:*=…`.
    """
    needed = {hook.key for seam in seams() if seam.carries(features, fixes) for hook in seam.hooks}
    needed.update(f"{module}:{WHOLE}" for module in replaced)
    return tuple(f"{key}={fingerprint(key, modules)}" for key in sorted(needed))


def fingerprint(key: str, modules: Mapping[str, UpstreamModule]) -> str:
    """Of one hook. Where this Python cannot read the module, of the whole file: equal then still means unchanged."""
    hook = Hook.parse(key)
    module = modules.get(hook.module)
    if module is None:
        return MISSING
    if hook.name == WHOLE:
        return module.sha256[:_DIGITS]
    try:
        text = definitions.substance(module.source, hook.name)
    except SyntaxError:
        return module.sha256[:_DIGITS]
    return MISSING if text is None else hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


def footing(facts: Facts) -> tuple[str, ...]:
    """What every patch relies on, in the same form: xgboost and Python by minor version, and where Python lies."""
    known = (
        (XGBOOST, ".".join(facts.xgboost.split(".")[:2])),
        (PYTHON, ".".join(str(number) for number in facts.python.minor)),
        (EXECUTABLE, facts.python.executable),
        (SITE_PACKAGES, facts.python.site_packages),
    )
    return tuple(f"{key}={value}" for key, value in known)


def recorded(features: Sequence[str], fixes: Sequence[str], replaced: Sequence[str], facts: Facts) -> tuple[str, ...]:
    """What an image remembers of its base: its `footing`, and the `fingerprints` in it."""
    return (*footing(facts), *fingerprints(features, fixes, replaced, facts.modules))


def again(entries: Sequence[str], facts: Facts) -> tuple[str, ...]:
    """What an image with these `entries` would remember of the base with `facts`."""
    keys = [entry.partition("=")[0] for entry in entries]
    return (*footing(facts), *(f"{key}={fingerprint(key, facts.modules)}" for key in keys if key not in _FOOTING))


def replaced(entries: Sequence[str]) -> tuple[str, ...]:
    """The modules that an image with these `entries` replaces."""
    hooks = (Hook.parse(entry.partition("=")[0]) for entry in entries)
    return tuple(hook.module for hook in hooks if hook.name == WHOLE)


def _seam(name: str, row: Mapping[str, Any]) -> Seam:
    hooks = (_hook(module, text) for module, names in row["modules"].items() for text in names)
    return Seam(
        name=name,
        images=row.get("images", ""),
        features=frozenset(row.get("features", ())),
        fixes=frozenset(row.get("fixes", ())),
        overlays=tuple(row["overlays"]),
        hooks=tuple(hooks),
    )


def _hook(module: str, text: str) -> Hook:
    return Hook(module, text.removesuffix(_OPTIONAL), text.endswith(_OPTIONAL))
