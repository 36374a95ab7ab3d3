"""Whether packages of a published image would be other ones today: resolved again, for the base its labels tell of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xgbpatch.facts import Distribution, Facts, PythonFacts
from xgbpatch.progress import Progress
from xgbpatch.provenance import Provenance
from xgbpatch.provision import pins
from xgbpatch.spec import Spec


def found(spec: Spec, made: Provenance, progress: Progress) -> tuple[str, ...]:
    """`name 1.0 → 1.1` for each package that would differ; empty where nothing would, and without packages.

    Asks the package index. Raises `PackageError` and `ExtraMissingError`, as a build would.
    """
    facts = told(made)
    if facts is None:
        return ()
    before, now = _versions(made.packages), _versions([str(pin) for pin in pins(spec, facts, progress)])
    names = sorted({*before, *now})
    return tuple(_words(name, before, now) for name in names if before.get(name) != now.get(name))


def told(made: Provenance) -> Facts | None:
    """As much of the base's facts as its labels keep for resolving; None where they keep none."""
    parts = made.python.split(" ")
    if len(parts) != 3 or not made.base_packages:
        return None
    version, machine, libc = parts
    python = PythonFacts(version, "", "", "", machine, libc.removeprefix("glibc-"))
    held = {name: Distribution(name, version) for name, version in _versions(made.base_packages).items()}
    return Facts(made.base_digest, python, held, {}, frozenset(), {}, {}, {})


def _versions(items: Sequence[str]) -> Mapping[str, str]:
    pairs = (item.partition("==") for item in items)
    return {name: version for name, _, version in pairs}


def _words(name: str, before: Mapping[str, str], now: Mapping[str, str]) -> str:
    if name not in now:
        return f"{name} {before[name]} is no longer needed"
    return f"{name} {before[name]} → {now[name]}" if name in before else f"{name} {now[name]} is new"
