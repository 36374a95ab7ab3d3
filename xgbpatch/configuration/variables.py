"""The `XGBPATCH_*` variables that the command line reads, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xgbpatch.configuration.settings import Given


@dataclass(frozen=True)
class Variable:
    """A variable, the key of `xgbpatch.toml` it stands for (empty for the two that choose), and what it says."""

    name: str
    key: str
    meaning: str
    is_list: bool = False


CONFIG = Variable("XGBPATCH_CONFIG", "", "path of the configuration file")
IMAGE = Variable("XGBPATCH_IMAGE", "", "names of the images of the file to work on, with commas", is_list=True)
VARIABLES = (
    CONFIG,
    IMAGE,
    Variable("XGBPATCH_VERSION", "version", "version of the official image"),
    Variable("XGBPATCH_REGION", "region", "AWS region of the base and of the repository"),
    Variable("XGBPATCH_ARCH", "architecture", "amd64 or arm64"),
    Variable("XGBPATCH_BASE_IMAGE", "base_image", "a base other than the official image"),
    Variable("XGBPATCH_FEATURES", "features", "features, with commas", is_list=True),
    Variable("XGBPATCH_FIXES", "fixes", "fixes, with commas, or all", is_list=True),
    Variable("XGBPATCH_PACKAGES", "packages", "requirements to install beside the base, with semicolons", is_list=True),
    Variable("XGBPATCH_REQUIREMENTS", "requirements", "path of a requirements file"),
    Variable("XGBPATCH_REPOSITORY", "repository", "repository to push to"),
    Variable("XGBPATCH_TAG_PATTERN", "tag", "pattern of the tag"),
    Variable("XGBPATCH_ALIASES", "aliases", "further tags, with commas", is_list=True),
)


def given(environ: Mapping[str, str]) -> dict[str, Given]:
    """The settings that `environ` holds; an empty variable counts as unset."""
    found = (variable for variable in VARIABLES if variable.key and environ.get(variable.name, "").strip())
    return {variable.key: Given(_value(variable, environ[variable.name]), variable.name) for variable in found}


def split(text: str, separator: str = ",") -> list[str]:
    """The parts of `text`, without surrounding blanks and without empty ones."""
    return [part.strip() for part in text.split(separator) if part.strip()]


def _value(variable: Variable, text: str) -> Any:
    if not variable.is_list:
        return text.strip()
    return split(text, ";" if variable.key == "packages" else ",")  # a requirement may hold commas: "shap>=0.44,<1"
