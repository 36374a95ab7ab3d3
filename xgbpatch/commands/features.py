"""`xgbpatch features`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from xgbpatch.commands._options import json_option
from xgbpatch.util import labelled

if TYPE_CHECKING:
    from xgbpatch.patch.features import Feature


@click.command("features")
@click.option("--version", metavar="VERSION", help="Only what works on this version of the official image.")
@json_option
def command(version: str | None, as_json: bool) -> None:
    """List what can be switched on at build: what it does, on which versions, and what it costs.

    Every feature is off until it is asked for, and an image with none of them answers as its base does.

    \b
    Examples:
      xgbpatch features
      xgbpatch features --version 1.5-1
      xgbpatch features --json
    """
    from xgbpatch.catalogue import check_version
    from xgbpatch.patch.features import FEATURES, features_of

    if version is not None:
        check_version(version)
    chosen = tuple(FEATURES.values()) if version is None else features_of(version)
    if as_json:
        click.echo(json.dumps({"version": version, "features": [row(feature) for feature in chosen]}, indent=2))
    elif chosen:
        click.echo("\n\n".join(text(feature) for feature in chosen))
    else:
        click.echo(f"No feature works on {version}.", err=True)


def row(feature: Feature) -> dict[str, Any]:
    """What `--json` prints of one feature."""
    from xgbpatch.catalogue import versions
    from xgbpatch.patch.features import features_of

    return {
        "name": feature.name,
        "summary": feature.summary,
        "versions": [info.version for info in versions() if feature in features_of(info.version)],
        "machine": feature.machine or None,
        "cost": feature.cost,
    }


def text(feature: Feature) -> str:
    """A paragraph for people."""
    shown = row(feature)
    lines = [
        ("does", feature.summary),
        ("works on", ", ".join(shown["versions"]) + (f" ({feature.machine})" if feature.machine else "")),
        ("costs", feature.cost),
    ]
    return f"{feature.name}\n{labelled(lines, indent='  ')}"
