"""Packages for the image: what the features and the user ask for, resolved, fetched, unpacked and slimmed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xgbpatch import cache
from xgbpatch.inspection.facts import Facts
from xgbpatch.patch.features import feature
from xgbpatch.progress import Progress
from xgbpatch.spec import Spec

if TYPE_CHECKING:
    from xgbpatch.patch.resolver import Pin


_FORMAT = 1  # of unpacked trees: raise it when the same pins give another


@dataclass(frozen=True)
class Provision:
    """The pins, and the folder that holds them unpacked (a wheel prefix); None where there is nothing to unpack."""

    pins: tuple[Pin, ...] = ()
    folder: Path | None = None


@dataclass(frozen=True)
class _Selection:
    pins: tuple[Pin, ...]
    slim: tuple[str, ...]
    partial: tuple[str, ...]

    @property
    def digest(self) -> str:
        lines = [f"{pin} {pin.sha256}" for pin in self.pins] + [f"slim {pattern}" for pattern in self.slim]
        lines += [f"partial {name}" for name in self.partial]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def provision(spec: Spec, facts: Facts, folder: Path, progress: Progress) -> Provision:
    """What goes beside the base. The unpacked tree is kept in the cache `folder`, under the hash of all that made it.

    Raises `PackageError` where a distribution of the base would have to move, or one of its modules be hidden.
    """
    selection = _selection(spec, facts, progress)
    if not selection.pins:
        return Provision()
    from xgbpatch.patch import wheels

    for kind in ("packages", "wheels"):
        cache.hold(folder / kind)
    tree = cache.keep_tree(
        folder / "packages" / f"{selection.digest[:32]}-{facts.python.version}-{_FORMAT}",
        lambda part: _unpack(selection, facts, part, folder=folder / "wheels", progress=progress),
    )
    wheels.refuse_shadowing(tree, facts)
    return Provision(selection.pins, tree)


def pins(spec: Spec, facts: Facts, progress: Progress) -> tuple[Pin, ...]:
    """What `provision` would put beside the base today; only resolved. Raises as `packages.resolve`."""
    return _selection(spec, facts, progress).pins


def _selection(spec: Spec, facts: Facts, progress: Progress) -> _Selection:
    from xgbpatch.patch.resolver import resolve

    pins: tuple[Pin, ...] = ()
    slim: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()
    for name in spec.features:
        needs = feature(name).pins(facts)
        if needs.reason:
            progress.line(f'Feature "{name}" brings no packages for this base: {needs.reason}')
        if needs.requirements:
            progress.line(f"Resolving {' '.join(needs.requirements)}")
            pins += resolve(needs.requirements, facts, alone=True)
            slim += needs.slim
            partial += needs.partial
    if spec.packages:
        progress.line(f"Resolving {' '.join(spec.packages)}")
        names = {pin.name for pin in pins}
        pins += tuple(pin for pin in resolve(spec.packages, facts, beside=pins) if pin.name not in names)
    return _Selection(tuple(sorted(pins, key=lambda pin: pin.name)), slim, partial)


def _unpack(packages: _Selection, facts: Facts, tree: Path, *, folder: Path, progress: Progress) -> None:
    from xgbpatch.patch import wheels

    files = [wheels.fetch(pin, folder, progress) for pin in packages.pins]
    wheels.unpack(files, tree, facts.python)
    freed = wheels.slim(tree, packages.slim)
    wheels.undeclare(tree, packages.partial)
    progress.line(f"Unpacked {len(files)} packages" + (f", left out {freed / 1e6:.0f} MB" if freed else ""))
