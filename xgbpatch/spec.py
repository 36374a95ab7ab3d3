"""What was asked: one image's specification, after flags, variables and files have been read, and where it goes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from xgbpatch.errors import ConfigurationError
from xgbpatch.reference import ImageReference

DEFAULT_REPOSITORY = "xgbpatch/sagemaker-xgboost"
DEFAULT_TAG = "{version}-{base}-{spec}"
_ACCOUNT = re.compile(r"\d{12}")


class Architecture(Enum):
    """The two architectures AWS publishes, by their OCI names."""

    AMD64 = "amd64"
    ARM64 = "arm64"

    @property
    def platform(self) -> str:
        return f"linux/{self.value}"


@dataclass(frozen=True)
class UserFile:
    """A file of the user's: `source` on this machine, `target` relative to their importable folder in the image."""

    source: Path
    target: str


@dataclass(frozen=True)
class Replacement:
    """A base module replaced by the user's file, with the sha256 of the base's file it was written against."""

    module: str
    source: Path
    sha256: str


@dataclass(frozen=True)
class Spec:
    """One image as it was asked for. Paths are absolute; `packages` are PEP 508 requirements; order carries meaning
    only for `environment`.

    `tag` is a pattern over `{version}`, `{base}` (first 12 hexadecimal digits of the base digest) and `{spec}` (first 8
    of the spec digest); `aliases` are further tags moved to the pushed image.
    """

    version: str
    region: str
    name: str = "default"
    architecture: Architecture = Architecture.AMD64
    base_image: ImageReference | None = None
    features: tuple[str, ...] = ()
    fixes: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    files: tuple[UserFile, ...] = ()
    replacements: tuple[Replacement, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    repository: str = DEFAULT_REPOSITORY
    tag: str = DEFAULT_TAG
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class PublishTarget:
    """What the command line says: the host of a private registry, or the account whose ECR is meant (empty: the
    caller's own). The region is the spec's."""

    registry: str = ""
    account: str = ""

    def __post_init__(self) -> None:
        if self.account and not _ACCOUNT.fullmatch(self.account):
            raise ConfigurationError(f'--account "{self.account}" is not an AWS account', "It has 12 digits.")
        if self.registry and self.account:
            raise ConfigurationError("--registry is for a registry outside ECR", "Leave out --account.")
