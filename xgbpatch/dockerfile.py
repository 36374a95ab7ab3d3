"""Rendering the Dockerfile: values in, text out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from xgbpatch import layout
from xgbpatch.errors import ConfigurationError

CONTEXT_FOLDER = "xgbpatch"  # where the overlay's files lie in the build context


@dataclass(frozen=True)
class Recipe:
    """What a Dockerfile says: the base (a reference by digest, or an image ID), variables and labels."""

    base: str
    version: str
    tool_version: str
    environment: Mapping[str, str]
    labels: Mapping[str, str]


def render(recipe: Recipe) -> str:
    """The Dockerfile's text; raises `ConfigurationError` for a value that no Dockerfile can carry."""
    loader = PackageLoader("xgbpatch")
    environment = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True)  # noqa: S701 — no HTML
    environment.filters["words"] = words
    template = environment.get_template("Dockerfile.j2")
    return template.render(
        base=recipe.base,
        version=recipe.version,
        tool_version=recipe.tool_version,
        environment=dict(sorted(recipe.environment.items())),
        labels=recipe.labels,
        folder=CONTEXT_FOLDER,
        root=layout.ROOT,
    )


def words(values: Mapping[str, str]) -> str:
    """`NAME="value"` for each, a line each, as one instruction: a step of the builder is a container started."""
    return " \\\n    ".join(f"{name}={quoted(value)}" for name, value in values.items())


def quoted(value: str) -> str:
    """`value` as a double-quoted Dockerfile word that the builder reads back unchanged."""
    if any(character in value for character in "\n\r\0"):
        raise ConfigurationError(f'"{value!r}" holds a line break, which no ENV or LABEL of a Dockerfile can carry')
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'
