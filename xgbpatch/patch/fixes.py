"""The known bugs of the base that a build can fix: what one sees of each, what its fix does, on which versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from xgbpatch.errors import ConfigurationError
from xgbpatch.provenance import PROJECT
from xgbpatch.util import load_data

ALL = "all"  # in the place of a name: every fix that is known for the version


@dataclass(frozen=True)
class Fix:
    """A fix by `name`. `symptom` is what one sees without it; `versions` are those on which the bug was seen.

    In the image each fix judges the base by itself: where the bug is gone it steps aside and logs why.
    """

    name: str
    symptom: str
    summary: str
    versions: tuple[str, ...]

    @property
    def page(self) -> str:
        """The address of its page."""
        return f"{PROJECT}/blob/main/docs/fixes/{self.name}.md"


def fixes_of(version: str) -> tuple[Fix, ...]:
    """The fixes for bugs that are known of a version of the official image."""
    return tuple(found for found in FIXES.values() if version in found.versions)


def chosen(names: tuple[str, ...], version: str) -> tuple[str, ...]:
    """`names` for a version of the official image, sorted, `all` put in words.

    Raises `ConfigurationError` for a fix whose bug is not known of that version.
    """
    known = tuple(found.name for found in fixes_of(version))
    for name in names:
        if name not in (ALL, *known):
            raise ConfigurationError(
                f'"{name}" is not a bug of version "{version}": it was seen on {", ".join(FIXES[name].versions)}',
                f"Known of {version}: {', '.join(known) or 'no bug'}; see `xgbpatch fixes`.",
            )
    return _expanded(names, known)


def chosen_for_own_base(names: tuple[str, ...], version: str) -> tuple[str, ...]:
    """`names` for a base of the user's own: nothing is refused, the fixes themselves judge what they meet.

    `all` means what is known of `version`, or every fix where nobody has looked at such a version.
    """
    known = tuple(found.name for found in fixes_of(version)) or tuple(FIXES)
    return _expanded(names, known)


def _expanded(names: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    expanded = {*names, *(known if ALL in names else ())} - {ALL}
    return tuple(sorted(expanded))


FIXES: Mapping[str, Fix] = MappingProxyType({
    name: Fix(name, row["symptom"], row["summary"], tuple(row["versions"]))
    for name, row in load_data("fixes.toml").items()
})  # fmt: skip
