"""What a base was seen to hold, when it was run once. Nothing here is guessed from a tag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Distribution:
    """An installed distribution: canonical name, version, and its `Requires-Dist` lines."""

    name: str
    version: str
    requires: tuple[str, ...] = ()


@dataclass(frozen=True)
class UpstreamModule:
    """A module of the official packages: where it lies in the image, its sha256 and its text."""

    path: str
    sha256: str
    source: str = field(repr=False, default="")


@dataclass(frozen=True)
class PythonFacts:
    """The interpreter that `serve` runs under. `version` is `major.minor.micro`; `glibc` is empty off glibc."""

    version: str
    executable: str
    prefix: str
    site_packages: str
    machine: str
    glibc: str

    @property
    def minor(self) -> tuple[int, int]:
        major, minor, *_ = self.version.split(".")
        return int(major), int(minor)


@dataclass(frozen=True)
class Facts:
    """A base image as seen from inside, keyed by `digest` (registry digest, or image ID for a local one).

    `modules` maps dotted names of `sagemaker_xgboost_container.*` and `sagemaker_algorithm_toolkit.*` to their files;
    `top_levels` are the importable top-level names of site-packages; `commands` maps `serve` and `train` to paths;
    `environment` and `labels` come from the image's config; `complaints` are the lines `pip check` prints in the base,
    None where it has no pip.
    """

    digest: str
    python: PythonFacts
    distributions: Mapping[str, Distribution]
    modules: Mapping[str, UpstreamModule]
    top_levels: frozenset[str]
    commands: Mapping[str, str]
    environment: Mapping[str, str]
    labels: Mapping[str, str]
    complaints: tuple[str, ...] | None = ()

    @property
    def xgboost(self) -> str:
        return self.distributions["xgboost"].version
