"""From flags, `XGBPATCH_*` variables, `xgbpatch.toml` and defaults, in this order, to specs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any

from xgbpatch import catalogue, fixes
from xgbpatch.configuration import region, toml_file, variables
from xgbpatch.configuration.grammar import parse
from xgbpatch.configuration.settings import FILE_NAME, Flags, Given, Settings, blamed_on
from xgbpatch.configuration.toml_file import TomlFile
from xgbpatch.errors import ConfigurationError
from xgbpatch.features import features_of
from xgbpatch.spec import DEFAULT_REPOSITORY, DEFAULT_TAG, Architecture, Spec
from xgbpatch.suggestion import choose_from

DEFAULT_NAME = "default"
_VERSION_IN_TAG = re.compile(r"\d+\.\d+-\d+(?:-\d+)?(?=-|$)")


def load(flags: Flags, environ: Mapping[str, str], cwd: Path) -> tuple[Spec, ...]:
    """The images asked for, in the file's order; all of the file's where none is named.

    A place that speaks of a setting replaces all that lower places say of it; only `environment` is put together name
    by name. Raises `ConfigurationError`.
    """
    above = parse(_given(flags), cwd).over(parse(variables.given(environ), cwd))
    file = _file(flags.config, environ, cwd)
    known = _known(file)
    asked = {name: above.over(known[name]) for name in _chosen(file, known, _names(flags, environ))}
    _check_aliases({**known, **asked}, frozenset(asked), environ)
    return tuple(_spec(name, settings, environ) for name, settings in asked.items())


def region_of(flags: Flags, environ: Mapping[str, str], cwd: Path) -> str | None:
    """The region that applies before any image is chosen, or None where nobody names one."""
    above = parse(_given(flags), cwd).over(parse(variables.given(environ), cwd))
    file = _file(flags.config, environ, cwd)
    return above.region or (file.defaults.region if file else None) or region.from_aws(environ)


def _file(named: Path | None, environ: Mapping[str, str], cwd: Path) -> TomlFile | None:
    text = str(named) if named else environ.get(variables.CONFIG.name, "").strip()
    if text:
        with blamed_on("--config" if named else variables.CONFIG.name):
            return toml_file.read(cwd / text)
    usual = cwd / FILE_NAME
    return toml_file.read(usual) if usual.exists() else None


def _names(flags: Flags, environ: Mapping[str, str]) -> tuple[str, ...]:
    return flags.images or tuple(variables.split(environ.get(variables.IMAGE.name, "")))


def _known(file: TomlFile | None) -> dict[str, Settings]:
    if file is None:
        return {DEFAULT_NAME: Settings()}
    images = {name: settings.over(file.defaults) for name, settings in file.images.items()}
    return images or {DEFAULT_NAME: file.defaults}


def _chosen(file: TomlFile | None, known: Iterable[str], names: Iterable[str]) -> list[str]:
    for name in names:
        if name not in known:
            place = f'"{file.path}"' if file else f'"{DEFAULT_NAME}" alone, for want of a file {FILE_NAME}'
            raise ConfigurationError(f'there is no image "{name}" in {place}', choose_from(name, tuple(known)))
    wanted = frozenset(names) or frozenset(known)
    return [name for name in known if name in wanted]


def _check_aliases(images: Mapping[str, Settings], asked: Set[str], environ: Mapping[str, str]) -> None:
    """One of `asked` must share no alias with another image of its repository: each would take it from the other."""
    owners: dict[tuple[str, str, str], str] = {}
    for name, settings in images.items():
        for alias in settings.aliases or ():
            repository = settings.repository or DEFAULT_REPOSITORY
            other = owners.setdefault((_region_named(settings, environ), repository, alias), name)
            if other != name and {other, name} & asked:
                raise ConfigurationError(
                    f'{settings.origin("aliases")}: "{alias}" is an alias of the image "{other}" too, and the '
                    f'repository of both is "{repository}"',
                    f'A tag names one image: give each its own, such as "{name}-{alias}", or a repository of its own.',
                )


def _spec(name: str, settings: Settings, environ: Mapping[str, str]) -> Spec:
    architecture = settings.architecture or Architecture.AMD64
    return Spec(
        name=name,
        version=_version(settings, architecture),
        region=_region(settings, environ),
        architecture=architecture,
        base_image=settings.base_image,
        features=_features(settings),
        fixes=_fixes(settings, _version(settings, architecture)),
        packages=tuple(dict.fromkeys((settings.packages or ()) + (settings.requirements or ()))),
        files=settings.files or (),
        replacements=settings.replace or (),
        environment=tuple((settings.environment or {}).items()),
        repository=settings.repository or DEFAULT_REPOSITORY,
        tag=settings.tag or DEFAULT_TAG,
        aliases=settings.aliases or (),
    )


def _version(settings: Settings, architecture: Architecture) -> str:
    """The catalogue's versions bind official images only; a base of the user's own may carry any."""
    if settings.base_image is not None:
        return settings.version or _version_of_base(settings)
    if settings.version is None:
        raise ConfigurationError(
            "no version of the official image is named",
            "Pass --version, set XGBPATCH_VERSION, or run `xgbpatch init`; `xgbpatch versions` lists them.",
        )
    with blamed_on(settings.origin("version")):
        catalogue.check_version(settings.version, architecture)
    return settings.version


def _version_of_base(settings: Settings) -> str:
    tag = settings.base_image.tag if settings.base_image else ""
    match = _VERSION_IN_TAG.match(tag)
    if not match:
        raise ConfigurationError(
            f'{settings.origin("base_image")}: the tag of "{settings.base_image}" does not begin with a version',
            "Say which version it stands for: --version 3.2-0.",
        )
    return match[0]


def _features(settings: Settings) -> tuple[str, ...]:
    """Refused early where the official image cannot take them; of a base of the user's own, inspection tells."""
    wanted = settings.features or ()
    if settings.base_image is not None or settings.version is None:
        return wanted
    possible = tuple(feature.name for feature in features_of(settings.version))
    for name in wanted:
        if name not in possible:
            raise ConfigurationError(
                f'{settings.origin("features")}: "{name}" does not work on version "{settings.version}"',
                f"Works on it: {', '.join(possible) or 'no feature'}; see `xgbpatch features`.",
            )
    return wanted


def _fixes(settings: Settings, version: str) -> tuple[str, ...]:
    wanted = settings.fixes or ()
    if settings.base_image is not None:
        return fixes.chosen_for_own_base(wanted, version)
    with blamed_on(settings.origin("fixes")):
        return fixes.chosen(wanted, version)


def _region(settings: Settings, environ: Mapping[str, str]) -> str:
    """Empty only for a base outside ECR where nobody names a region: such an image can be built, not pushed to ECR."""
    found = _region_named(settings, environ)
    if settings.base_image is not None:
        return found
    if not found:
        raise ConfigurationError(
            "no AWS region is known",
            "Pass --region, set AWS_REGION, write region in xgbpatch.toml, or run `aws configure set region REGION`.",
        )
    with blamed_on(settings.origin("region") if settings.region else "the region of AWS's own settings"):
        catalogue.check_region(found)
    return found


def _region_named(settings: Settings, environ: Mapping[str, str]) -> str:
    """Unchecked; empty where nobody names one."""
    base = settings.base_image
    return settings.region or region.from_aws(environ) or (base.ecr.region if base and base.ecr else "")


def _given(flags: Flags) -> dict[str, Given]:
    """The flags in the shape that the file's values have."""
    found: dict[str, Any] = {
        "--version": ("version", flags.version),
        "--region": ("region", flags.region),
        "--arch": ("architecture", flags.architecture),
        "--base-image": ("base_image", flags.base_image),
        "--feature": ("features", _listed(flags.features)),
        "--fix": ("fixes", _listed(flags.fixes)),
        "--package": ("packages", list(flags.packages)),
        "--requirements": ("requirements", flags.requirements),
        "--file": ("files", [_file_entry(text) for text in flags.files]),
        "--env": ("environment", dict(_assignment(text) for text in flags.environment)),
        "--repository": ("repository", flags.repository),
        "--tag-pattern": ("tag", flags.tag),
        "--alias": ("aliases", _listed(flags.aliases)),
    }
    return {key: Given(value, flag) for flag, (key, value) in found.items() if value not in (None, [], {})}


def _listed(values: Iterable[str]) -> list[str]:
    return [part for value in values for part in variables.split(value)]


def _file_entry(text: str) -> dict[str, str]:
    source, colon, target = text.partition(":")
    return {"source": source, "target": target} if colon else {"source": source}


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigurationError(f'--env: "{text}" is not NAME=VALUE', "Write it as --env OMP_NUM_THREADS=4.")
    return name, value
