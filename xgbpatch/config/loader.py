"""From flags, XGBPATCH_* variables, xgbpatch.toml and AWS's region to specs, in this order of precedence."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xgbpatch import catalogue
from xgbpatch.config.fields import parse
from xgbpatch.config.settings import FILE_NAME, KEYS, Flags, Given, SpecSettings, blamed_on
from xgbpatch.errors import ConfigurationError
from xgbpatch.patch.features import chosen_fixes, chosen_fixes_for_own_base, features_of
from xgbpatch.spec import DEFAULT_REPOSITORY, DEFAULT_TAG, Architecture, Spec
from xgbpatch.util import TOMLDecodeError, did_you_mean, loads

DEFAULT_NAME = "default"
_IMAGES = "images"
_IMAGE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_VERSION_IN_TAG = re.compile(r"\d+\.\d+-\d+(?:-\d+)?(?=-|$)")


@dataclass(frozen=True)
class SettingVariable:
    """A variable, the key of `xgbpatch.toml` it stands for (empty for the two that choose), and what it says."""

    name: str
    key: str
    meaning: str
    is_list: bool = False


CONFIG = SettingVariable("XGBPATCH_CONFIG", "", "path of the configuration file")
IMAGE = SettingVariable("XGBPATCH_IMAGE", "", "names of the images of the file to work on, with commas", is_list=True)
VARIABLES = (
    CONFIG,
    IMAGE,
    SettingVariable("XGBPATCH_VERSION", "version", "version of the official image"),
    SettingVariable("XGBPATCH_REGION", "region", "AWS region of the base and of the repository"),
    SettingVariable("XGBPATCH_ARCH", "architecture", "amd64 or arm64"),
    SettingVariable("XGBPATCH_BASE_IMAGE", "base_image", "a base other than the official image"),
    SettingVariable("XGBPATCH_FEATURES", "features", "features, with commas", is_list=True),
    SettingVariable("XGBPATCH_FIXES", "fixes", "fixes, with commas, or all", is_list=True),
    SettingVariable(
        "XGBPATCH_PACKAGES", "packages", "requirements to install beside the base, with semicolons", is_list=True
    ),
    SettingVariable("XGBPATCH_REQUIREMENTS", "requirements", "path of a requirements file"),
    SettingVariable("XGBPATCH_REPOSITORY", "repository", "repository to push to"),
    SettingVariable("XGBPATCH_TAG_PATTERN", "tag", "pattern of the tag"),
    SettingVariable("XGBPATCH_ALIASES", "aliases", "further tags, with commas", is_list=True),
)


def variable_settings(environ: Mapping[str, str]) -> dict[str, Given]:
    """The settings that `environ` holds; an empty variable counts as unset."""
    settings = {}
    for variable in VARIABLES:
        text = environ.get(variable.name, "").strip()
        if variable.key and text:
            separator = ";" if variable.key == "packages" else ","  # a requirement may hold commas: "shap>=0.44,<1"
            value = split_list(text, separator) if variable.is_list else text
            settings[variable.key] = Given(value, variable.name)
    return settings


def split_list(text: str, separator: str = ",") -> list[str]:
    """The parts of `text`, without surrounding blanks and without empty ones."""
    return [part.strip() for part in text.split(separator) if part.strip()]


@dataclass(frozen=True)
class TomlFile:
    """The settings for every image, and those of each image by name, in the file's order."""

    path: Path
    defaults: SpecSettings
    images: Mapping[str, SpecSettings]


def read_toml(path: Path) -> TomlFile:
    """Read and check the whole file; raises `ConfigurationError` that names file, table and key."""
    document = _document(path)
    images = document.pop(_IMAGES, {})
    if not isinstance(images, dict):
        raise ConfigurationError(f'"{_IMAGES}" of "{path}" must be a table', "Write a table per image: [images.NAME].")
    defaults = _settings_of(document, path, "", (*KEYS, _IMAGES))
    return TomlFile(path, defaults, {name: _image(name, table, path) for name, table in images.items()})


def _document(path: Path) -> dict[str, Any]:
    try:
        return dict(loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise ConfigurationError(f'there is no configuration file "{path}"', "`xgbpatch init` writes one.") from error
    except TOMLDecodeError as error:
        raise ConfigurationError(
            f'"{path}" is not TOML: {error}', "https://toml.io shows how it is written."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f'cannot read "{path}": {error}') from error


def _image(name: str, table: Any, path: Path) -> SpecSettings:
    with blamed_on(f'[{_IMAGES}.{name}] of "{path}"'):
        if not _IMAGE_NAME.fullmatch(name):
            raise ConfigurationError(
                f'"{name}" is not a name for an image', "Use small letters, digits, dashes and underscores."
            )
        if not isinstance(table, dict):
            raise ConfigurationError("must be a table", f"Write settings below [{_IMAGES}.{name}].")
    return _settings_of(table, path, f"[{_IMAGES}.{name}]", KEYS)


def _settings_of(table: Mapping[str, Any], path: Path, heading: str, allowed: tuple[str, ...]) -> SpecSettings:
    place = f'{heading} of "{path}"' if heading else f'"{path}"'
    for key in table:
        if key not in allowed:
            raise ConfigurationError(f'"{key}" in {place} is not a setting', did_you_mean(key, allowed))
    return parse({key: Given(value, f'"{key}" in {place}') for key, value in table.items()}, path.parent)


def region_from_aws(environ: Mapping[str, str]) -> str | None:
    """`AWS_REGION`, else `AWS_DEFAULT_REGION`, else the region of the profile in AWS's config file, else None.

    Read here, for botocore is slow to load.
    """
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    if region:
        return region
    named, home = environ.get("AWS_CONFIG_FILE", ""), environ.get("HOME")
    if named and not named.startswith("~/"):
        path = Path(named)
    elif home:
        path = Path(home, named.removeprefix("~/") if named else ".aws/config")
    else:
        return None
    if not path.is_file():
        return None
    file = configparser.RawConfigParser(strict=False)
    try:
        file.read_string(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise ConfigurationError(
            f'cannot read the region from "{path}": {error}', "Mend the file, or pass --region."
        ) from error
    profile = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE") or "default"
    sections = (f"profile {profile}", profile) if profile != "default" else ("default", "profile default")
    return next((file.get(name, "region") for name in sections if file.has_option(name, "region")), None) or None


def load(flags: Flags, environ: Mapping[str, str], cwd: Path) -> tuple[Spec, ...]:
    """The images asked for, in the file's order; all of the file's where none is named.

    A place that speaks of a setting replaces all that lower places say of it; only `environment` is put together name
    by name. Raises `ConfigurationError`.
    """
    above = parse(_flag_values(flags), cwd).over(parse(variable_settings(environ), cwd))
    file = _file_in_use(flags.config, environ, cwd)
    defaults = file.defaults if file else SpecSettings()
    known = {name: settings.over(defaults) for name, settings in file.images.items()} if file else {}
    known = known or {DEFAULT_NAME: defaults}
    names = flags.images or tuple(split_list(environ.get(IMAGE.name, "")))
    for name in names:
        if name not in known:
            if file is None:
                raise ConfigurationError(
                    f'there is no image "{name}": no {FILE_NAME} is in "{cwd}"', "`xgbpatch init` writes one."
                )
            raise ConfigurationError(f'there is no image "{name}" in "{file.path}"', did_you_mean(name, tuple(known)))
    chosen = {name: above.over(settings) for name, settings in known.items() if name in (names or known)}
    _check_aliases({**known, **chosen}, chosen.keys(), environ)
    return tuple(_spec(name, settings, environ) for name, settings in chosen.items())


def region_of(flags: Flags, environ: Mapping[str, str], cwd: Path) -> str | None:
    """The region that applies before any image is chosen, or None where nobody names one."""
    above = parse(_flag_values(flags), cwd).over(parse(variable_settings(environ), cwd))
    file = _file_in_use(flags.config, environ, cwd)
    return above.region or (file.defaults.region if file else None) or region_from_aws(environ)


def _file_in_use(named: Path | None, environ: Mapping[str, str], cwd: Path) -> TomlFile | None:
    text = str(named) if named else environ.get(CONFIG.name, "").strip()
    if text:
        with blamed_on("--config" if named else CONFIG.name):
            return read_toml(cwd / text)
    usual = cwd / FILE_NAME
    return read_toml(usual) if usual.exists() else None


def _check_aliases(images: Mapping[str, SpecSettings], selected: Set[str], environ: Mapping[str, str]) -> None:
    """One of `selected` must share no alias with another image of its repository: each would take it from the other."""
    owners: dict[tuple[str, str, str], str] = {}
    for name, settings in images.items():
        for alias in settings.aliases or ():
            repository = settings.repository or DEFAULT_REPOSITORY
            other = owners.setdefault((_region_named(settings, environ), repository, alias), name)
            if other != name and {other, name} & selected:
                raise ConfigurationError(
                    f'{settings.origin("aliases")}: "{alias}" is an alias of the image "{other}" too, and the '
                    f'repository of both is "{repository}"',
                    f'A tag names one image: give each its own, such as "{name}-{alias}", or a repository of its own.',
                )


def _spec(name: str, settings: SpecSettings, environ: Mapping[str, str]) -> Spec:
    architecture = settings.architecture or Architecture.AMD64
    version = _version(settings, architecture)
    region, features = _region(settings, environ), _features(settings)
    expand_fixes = chosen_fixes if settings.base_image is None else chosen_fixes_for_own_base
    with blamed_on(settings.origin("fixes")):
        fixes = expand_fixes(settings.fixes or (), version)
    return Spec(
        name=name,
        version=version,
        region=region,
        architecture=architecture,
        base_image=settings.base_image,
        features=features,
        fixes=fixes,
        packages=tuple(dict.fromkeys((settings.packages or ()) + (settings.requirements or ()))),
        files=settings.files or (),
        replacements=settings.replace or (),
        environment=tuple((settings.environment or {}).items()),
        repository=settings.repository or DEFAULT_REPOSITORY,
        tag=settings.tag or DEFAULT_TAG,
        aliases=settings.aliases or (),
    )


def _version(settings: SpecSettings, architecture: Architecture) -> str:
    """The catalogue's versions bind official images only; a base of the user's own may carry any."""
    if settings.base_image is not None:
        if settings.version:
            return settings.version
        match = _VERSION_IN_TAG.match(settings.base_image.tag)
        if not match:
            raise ConfigurationError(
                f'{settings.origin("base_image")}: the tag of "{settings.base_image}" does not begin with a version',
                "Say which version it stands for: --version 3.2-0.",
            )
        return match[0]
    if settings.version is None:
        raise ConfigurationError(
            "no version of the official image is named",
            "Pass --version, set XGBPATCH_VERSION, or run `xgbpatch init`; `xgbpatch versions` lists them.",
        )
    with blamed_on(settings.origin("version")):
        catalogue.check_version(settings.version, architecture)
    return settings.version


def _features(settings: SpecSettings) -> tuple[str, ...]:
    """Refused early where the official image cannot take them; of a base of the user's own, inspection tells."""
    features = settings.features or ()
    if settings.base_image is not None or settings.version is None:
        return features
    possible = tuple(feature.name for feature in features_of(settings.version))
    for name in features:
        if name not in possible:
            raise ConfigurationError(
                f'{settings.origin("features")}: "{name}" does not work on version "{settings.version}"',
                f"Works on it: {', '.join(possible) or 'no feature'}; see `xgbpatch features`.",
            )
    return features


def _region(settings: SpecSettings, environ: Mapping[str, str]) -> str:
    """Empty only for a base outside ECR where nobody names a region: such an image can be built, not pushed to ECR."""
    region = _region_named(settings, environ)
    if not region and settings.base_image is None:
        raise ConfigurationError(
            "no AWS region is known",
            "Pass --region, set AWS_REGION, write region in xgbpatch.toml, or run `aws configure set region REGION`.",
        )
    if not region:
        return ""
    with blamed_on(settings.origin("region") if settings.region else "the region of AWS's own settings"):
        if settings.base_image is None:
            catalogue.check_region(region)
        else:
            from xgbpatch.aws import require_region  # a build of a local base without a region needs nothing of AWS

            require_region(region)
    return region


def _region_named(settings: SpecSettings, environ: Mapping[str, str]) -> str:
    """Unchecked; empty where nobody names one."""
    base = settings.base_image
    return settings.region or region_from_aws(environ) or (base.ecr.region if base and base.ecr else "")


def _flag_values(flags: Flags) -> dict[str, Given]:
    """The flags in the shape that the file's values have."""
    values: dict[str, Any] = {
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
    return {key: Given(value, flag) for flag, (key, value) in values.items() if value not in (None, [], {})}


def _listed(values: Iterable[str]) -> list[str]:
    return [part for value in values for part in split_list(value)]


def _file_entry(text: str) -> dict[str, str]:
    return dict(zip(("source", "target"), text.split(":", 1), strict=False))


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigurationError(f'--env: "{text}" is not NAME=VALUE', "Write it as --env OMP_NUM_THREADS=4.")
    return name, value
