"""The options that commands share, and the way from them to specs. The environment is read here and nowhere below."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import reduce, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from xgbpatch.config.settings import Flags
from xgbpatch.errors import ConfigurationError
from xgbpatch.spec import DEFAULT_REPOSITORY, DEFAULT_TAG, Architecture, Spec

if TYPE_CHECKING:
    from xgbpatch.publish.signing import Signer

F = TypeVar("F", bound=Callable[..., Any])

config_option = click.option(
    "--config",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Configuration file.  [default: ./xgbpatch.toml, where there is one]",
)
region_option = click.option(
    "--region",
    metavar="REGION",
    help="AWS region of the base and of the repository.  [default: AWS_REGION, or the AWS profile's]",
)
version_option = click.option(
    "--version", metavar="VERSION", help="Version of the official image, such as 3.2-0 (xgbpatch versions)."
)
_IMAGE_OPTIONS = (
    config_option,
    click.option(
        "--image",
        "images",
        metavar="NAME",
        multiple=True,
        help="Image of the file to work on; repeatable.  [default: all of them]",
    ),
    version_option,
    region_option,
    click.option(
        "--arch",
        "--platform",
        "architecture",
        type=click.Choice([name for item in Architecture for name in (item.value, item.platform)]),
        callback=lambda context, option, value: value and value.removeprefix("linux/"),
        help="Architecture; arm64 is Graviton inference with 1.3-1 and 1.5-1.  [default: amd64]",
    ),
    click.option(
        "--base-image",
        metavar="REFERENCE",
        help="Base in any registry, or in the local engine where no registry host is named, "
        "instead of the official image.",
    ),
    click.option(
        "--feature",
        "features",
        metavar="NAME[,NAME]",
        multiple=True,
        help="Feature to switch on; repeatable (xgbpatch features).",
    ),
    click.option(
        "--fix",
        "fixes",
        metavar="NAME[,NAME]",
        multiple=True,
        help="Known bug of the base to fix, or all; repeatable (xgbpatch fixes).",
    ),
    click.option(
        "--package",
        "packages",
        metavar="REQUIREMENT",
        multiple=True,
        help="Python package to install beside the base; repeatable.",
    ),
    click.option("--requirements", metavar="FILE", help="Requirements file, its packages installed beside the base."),
    click.option(
        "--file",
        "files",
        metavar="SRC[:TARGET]",
        multiple=True,
        help="File or directory of yours to make importable in the image; repeatable.",
    ),
    click.option(
        "--env",
        "environment",
        metavar="NAME=VALUE",
        multiple=True,
        help="Environment variable of the image, readable by all who pull it; repeatable.",
    ),
    click.option("--repository", metavar="NAME", help=f"Repository to push to.  [default: {DEFAULT_REPOSITORY}]"),
    click.option(
        "--tag-pattern",
        "tag",
        metavar="PATTERN",
        help=f"Tag, with the fields {{version}}, {{base}} and {{spec}}.  [default: {DEFAULT_TAG}]",
    ),
    click.option(
        "--alias", "aliases", metavar="TAG[,TAG]", multiple=True, help="Further tag for the pushed image; repeatable."
    ),
)
_FLAG_NAMES = tuple(field.name for field in fields(Flags))

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")
all_option = click.option(
    "--all", "everything", is_flag=True, help="Every image of the file, even where XGBPATCH_IMAGE chooses some."
)
builder_option = click.option(
    "--builder",
    type=click.Choice(["docker", "registry"]),
    default="docker",
    show_default=True,
    help="With the local engine, or without any, straight into the registry.",
)


def target_options(function: F) -> F:
    """Where an image is published: `--registry` and `--account`; it is given to the command as `publish_target`."""

    @click.option("--registry", default="", metavar="HOST", help="A private registry instead of ECR.")
    @click.option("--account", default="", metavar="ID", help="Account whose ECR is meant.  [default: your own]")
    @wraps(function)
    def collected(registry: str, account: str, **kwargs: Any) -> Any:
        from xgbpatch.publish.destination import PublishTarget

        return function(publish_target=PublishTarget(registry, account), **kwargs)

    return cast(F, collected)


@dataclass(frozen=True)
class Signature:
    """Whether the image is to be signed, and with which key (empty: cosign's keyless way)."""

    wanted: bool = False
    key: str = ""

    def signer(self) -> Signer | None:
        """The cosign on PATH, asked for before anything is made; None where no signature is wanted."""
        from xgbpatch.publish import signing

        if self.key and not self.wanted:
            raise ConfigurationError("--sign-key is for --sign", "Give --sign as well.")
        return signing.signer(self.key) if self.wanted else None


def sign_options(function: F) -> F:
    """`--sign` and `--sign-key`; the command receives them as `signature: Signature`."""

    @click.option("--sign", is_flag=True, help="Sign the published image with cosign, which must be installed.")
    @click.option("--sign-key", default="", metavar="KEY", help="cosign's key: a file, awskms:///…, env://NAME.")
    @wraps(function)
    def collected(sign: bool, sign_key: str, **kwargs: Any) -> Any:
        return function(signature=Signature(sign, sign_key), **kwargs)

    return cast(F, collected)


@dataclass(frozen=True)
class Selection:
    """What the command line says about images, not yet put together with variables and the file."""

    flags: Flags

    def specs(self, everything: bool = False) -> tuple[Spec, ...]:
        """The images asked for, or all of the file, whatever a variable says; raises `ConfigurationError`."""
        from xgbpatch.config.loader import IMAGE, load

        if not everything:
            return load(self.flags, os.environ, Path.cwd())
        if self.flags.images:
            raise ConfigurationError("--all and --image exclude each other", "Leave one of them out.")
        return load(self.flags, {**os.environ, IMAGE.name: ""}, Path.cwd())

    def has_file(self) -> bool:
        """Whether a configuration file takes part."""
        from xgbpatch.config.loader import CONFIG
        from xgbpatch.config.settings import FILE_NAME

        return bool(self.flags.config or os.environ.get(CONFIG.name, "").strip()) or Path(FILE_NAME).exists()

    def region(self) -> str | None:
        """The region that applies where no image is chosen, or None where nobody names one."""
        from xgbpatch.config.loader import region_of

        return region_of(self.flags, os.environ, Path.cwd())


def image_options(function: F) -> F:
    """Give the command every option that selects or describes images; it receives them as `selection: Selection`."""

    @wraps(function)
    def collected(**kwargs: Any) -> Any:
        flags = Flags(**{name: kwargs.pop(name) for name in _FLAG_NAMES})
        return function(selection=Selection(flags), **kwargs)

    return reduce(lambda decorated, option: option(decorated), reversed(_IMAGE_OPTIONS), cast(F, collected))
