"""What a base was seen to hold, when it was run once. Nothing here is guessed from a tag."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from packaging.utils import canonicalize_name

from xgbpatch.errors import BaseImageError


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


# Facts from the document that the probe prints, and whether they are those of a SageMaker XGBoost image.


REQUIRED_MODULES = ("sagemaker_xgboost_container.serving", "sagemaker_xgboost_container.training")
REQUIRED_ENVIRONMENT = ("SAGEMAKER_SERVING_MODULE", "SAGEMAKER_TRAINING_MODULE")


# A list of one shape holds any number of such values; a dict with the one key "*" maps any names to such values.
_SHAPE: Any = {
    "python": dict.fromkeys(("version", "executable", "prefix", "site_packages", "machine", "glibc"), (str,)),
    "distributions": [{"name": (str, None), "version": (str, None), "requires": [(str,)]}],
    "modules": {"*": dict.fromkeys(("path", "sha256", "source"), (str,))},
    "top_levels": [(str,)],
    "commands": {"serve": (str,), "train": (str,)},
    "complaints": ([(str,)], None),
}
_VERSION = re.compile(r"\d+\.\d+\.\d")


def parse(document: Any) -> Mapping[str, Any]:
    """`document` itself; raises `ValueError` for one that `probe/facts.py` would not print.

    It comes out of an image, or out of a file that anything may have happened to.
    """
    if not _fits(document, _SHAPE) or not _VERSION.match(document["python"]["version"]):
        raise ValueError("not the facts of an image")
    checked: Mapping[str, Any] = document
    return checked


def _fits(value: Any, shape: Any) -> bool:
    """Alternatives are a tuple."""
    if isinstance(shape, tuple):
        return any(_fits(value, one) for one in shape)
    if isinstance(shape, list):
        return isinstance(value, list) and all(_fits(item, shape[0]) for item in value)
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return False
        if "*" in shape:
            return all(_fits(item, shape["*"]) for item in value.values())
        return value.keys() == shape.keys() and all(_fits(value[name], shape[name]) for name in shape)
    return value is None if shape is None else type(value) is shape


def facts_of(
    document: Mapping[str, Any], digest: str, environment: Mapping[str, str], labels: Mapping[str, str]
) -> Facts:
    """The facts of the image `digest` from the document that `probe/facts.py` prints, and from its configuration."""
    distributions = [
        Distribution(canonicalize_name(entry["name"]), entry["version"], tuple(entry["requires"]))
        for entry in document["distributions"]
        if entry["name"] and entry["version"]
    ]
    return Facts(
        digest=digest,
        python=PythonFacts(**document["python"]),
        distributions={distribution.name: distribution for distribution in distributions},
        modules={name: UpstreamModule(**module) for name, module in document["modules"].items()},
        top_levels=frozenset(document["top_levels"]),
        commands=document["commands"],
        environment=environment,
        labels=labels,
        complaints=None if document["complaints"] is None else tuple(document["complaints"]),
    )


def refuse_incomplete(name: str, facts: Facts) -> None:
    """Raises `BaseImageError` that lists all that the image called `name` lacks of a SageMaker XGBoost image."""
    missing = [f'command "{command}"' for command, path in facts.commands.items() if not path]
    missing += [f'module "{module}"' for module in REQUIRED_MODULES if module not in facts.modules]
    missing += [f'variable "{variable}"' for variable in REQUIRED_ENVIRONMENT if variable not in facts.environment]
    missing += [] if "xgboost" in facts.distributions else ['distribution "xgboost"']
    if missing:
        raise BaseImageError(
            f'"{name}" is no SageMaker XGBoost image: it lacks {", ".join(missing)}',
            "Name an official image (xgbpatch versions), one built on it, or the stand-in.",
        )


def decode_source(content: bytes) -> str:
    """The text of a module, in the encoding that it declares (PEP 263), without a byte order mark.

    Raises `SyntaxError` where Python would not read it: the encoding is unknown, or the bytes are of another.
    """
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        return content.decode(encoding)
    except (LookupError, UnicodeError) as error:  # `rot13` and its kin are no encodings of text
        raise SyntaxError(str(error)) from error
