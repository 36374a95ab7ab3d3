"""The features and the fixes that a build can switch on: what each does, where it works, what it brings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from packaging.specifiers import SpecifierSet

from xgbpatch.errors import ConfigurationError
from xgbpatch.inspection.facts import Facts
from xgbpatch.provenance import PROJECT
from xgbpatch.util import did_you_mean, load_data


@dataclass(frozen=True)
class Pins:
    """What a feature installs on one base: exact requirements, and globs below the prefix that are left out.

    `partial` names distributions of which a part is used that needs nothing else. Without requirements `reason` says
    why there are none, or is empty where the feature needs none.
    """

    requirements: tuple[str, ...] = ()
    slim: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class _Packages:
    """One choice of packages, and the conditions (subject to specifier) under which it is right."""

    conditions: Mapping[str, SpecifierSet]
    pins: Pins

    def fits(self, versions: Mapping[str, str]) -> bool:
        return all(
            versions.get(subject) and specifier.contains(versions[subject], prereleases=True)
            for subject, specifier in self.conditions.items()
        )


@dataclass(frozen=True)
class Feature:
    """A feature by `name`. `xgboost` says on which versions it works, `machine` (empty: all) where its packages do;
    `environment` is what the image sets for it."""

    name: str
    summary: str
    cost: str
    xgboost: SpecifierSet
    machine: str
    environment: Mapping[str, str]
    packages: tuple[_Packages, ...]

    def works_with(self, xgboost: str) -> bool:
        """Whether the feature works on that version of xgboost."""
        return bool(xgboost) and self.xgboost.contains(xgboost)

    def pins(self, facts: Facts) -> Pins:
        """What to install on this base; raises `ConfigurationError` where the feature does not work on it at all.

        Without fitting packages the feature is still built, and falls back at run time with the same reason.
        """
        if not self.works_with(facts.xgboost):
            raise ConfigurationError(
                f'the feature "{self.name}" needs xgboost {self.xgboost}, the base has {facts.xgboost}',
                "Leave the feature out, or choose a newer version.",
            )
        if not self.packages:
            return Pins()
        if self.machine and facts.python.machine != self.machine:
            return Pins(reason=f'its packages exist for {self.machine}, the base is "{facts.python.machine}"')
        sklearn = facts.distributions.get("scikit-learn")
        versions = {
            "python": facts.python.version,
            "scikit-learn": sklearn.version if sklearn else "",
            "glibc": facts.python.glibc,
        }
        for choice in self.packages:
            if choice.fits(versions):
                return choice.pins
        known = ", ".join(f"{subject} {version or 'unknown'}" for subject, version in versions.items())
        return Pins(reason=f"no release is known to work with {known}")


def feature(name: str) -> Feature:
    """The feature of that name; raises `ConfigurationError` with the nearest match and the allowed names."""
    try:
        return FEATURES[name]
    except KeyError:
        raise ConfigurationError(f'"{name}" is not a feature', did_you_mean(name, tuple(FEATURES))) from None


def features_of(version: str) -> tuple[Feature, ...]:
    """The features that work on a version of the official image, by what it is expected to hold."""
    from xgbpatch import catalogue

    expected = {info.version: info.xgboost for info in catalogue.versions()}
    return tuple(feature for feature in FEATURES.values() if feature.works_with(expected.get(version, "")))


def _feature(name: str, row: Mapping[str, Any]) -> Feature:
    return Feature(
        name=name,
        summary=row["summary"],
        cost=row["cost"],
        xgboost=SpecifierSet(row["xgboost"]),
        machine=row.get("machine", ""),
        environment=MappingProxyType(row["environment"]),
        packages=tuple(_packages(choice, row) for choice in row.get("packages", ())),
    )


def _packages(choice: Mapping[str, Any], row: Mapping[str, Any]) -> _Packages:
    conditions = {subject: SpecifierSet(text) for subject, text in choice.items() if subject != "requirements"}
    return _Packages(conditions, Pins(tuple(choice["requirements"]), tuple(row["slim"]), tuple(row.get("partial", ()))))


FEATURES: Mapping[str, Feature] = MappingProxyType({
    name: _feature(name, row) for name, row in load_data("features.toml").items()
})  # fmt: skip


# The known bugs of the base that a build can fix: what one sees of each, what its fix does, on which versions.


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
    return tuple(fix for fix in FIXES.values() if version in fix.versions)


def chosen_fixes(names: tuple[str, ...], version: str) -> tuple[str, ...]:
    """`names` for a version of the official image, sorted, `all` put in words.

    Raises `ConfigurationError` for a fix whose bug is not known of that version.
    """
    known = tuple(fix.name for fix in fixes_of(version))
    for name in names:
        if name not in (ALL, *known):
            raise ConfigurationError(
                f'"{name}" is not a bug of version "{version}": it was seen on {", ".join(FIXES[name].versions)}',
                f"Known of {version}: {', '.join(known) or 'no bug'}; see `xgbpatch fixes`.",
            )
    return _expanded(names, known)


def chosen_fixes_for_own_base(names: tuple[str, ...], version: str) -> tuple[str, ...]:
    """`names` for a base of the user's own: nothing is refused, the fixes themselves judge what they meet.

    `all` means what is known of `version`, or every fix where nobody has looked at such a version.
    """
    known = tuple(fix.name for fix in fixes_of(version)) or tuple(FIXES)
    return _expanded(names, known)


def _expanded(names: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    expanded = {*names, *(known if ALL in names else ())} - {ALL}
    return tuple(sorted(expanded))


FIXES: Mapping[str, Fix] = MappingProxyType({
    name: Fix(name, row["symptom"], row["summary"], tuple(row["versions"]))
    for name, row in load_data("fixes.toml").items()
})  # fmt: skip
