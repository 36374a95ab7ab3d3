"""`xgbpatch versions`."""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING, Any

import click

from xgbpatch.commands._options import Selection, config_option, json_option, region_option
from xgbpatch.config.settings import Flags
from xgbpatch.util import labelled, table

if TYPE_CHECKING:
    from pathlib import Path

    from xgbpatch.catalogue import VersionInfo

FALLBACK_REGION = "us-east-1"  # for looking only: every version is in every region


@click.command("versions")
@region_option
@config_option
@json_option
def command(region: str | None, config: Path | None, as_json: bool) -> None:
    """List every version of the official image.

    For each: its Python and xgboost, the features it can take, the last day AWS patches it ("!" where that day has
    passed or lies within 90 days), and the image in your region. stderr says where the table comes from.

    \b
    Examples:
      xgbpatch versions
      xgbpatch versions --region eu-central-1
      xgbpatch versions --json | jq -r '.versions[-1].image'
    """
    from xgbpatch import catalogue

    place = Selection(Flags(region=region, config=config)).region()
    if not place:
        click.echo(f"No region is set: images of {FALLBACK_REGION} are shown. --region names another.", err=True)
    rows = [row(info, place or FALLBACK_REGION, today()) for info in catalogue.versions()]
    click.echo(f"Source: {catalogue.source()}", err=True)
    document = {"source": catalogue.source(), "region": place or FALLBACK_REGION, "versions": rows}
    click.echo(json.dumps(document, indent=2) if as_json else text(rows))


def today() -> datetime.date:
    """The day in UTC."""
    return datetime.datetime.now(datetime.timezone.utc).date()


def row(info: VersionInfo, region: str, day: datetime.date) -> dict[str, Any]:
    """What is said of one version; raises `ConfigurationError` for a region without images."""
    from xgbpatch.catalogue import image_uri
    from xgbpatch.patch.features import features_of

    return {
        "version": info.version,
        "python": info.python,
        "xgboost": info.xgboost,
        "glibc": info.glibc,
        "features": [feature.name for feature in features_of(info.version)],
        "end_of_patch": info.end_of_patch.isoformat() if info.end_of_patch else None,
        "support": info.support(day).value,
        "note": info.note,
        "image": str(image_uri(info.version, region)),
        "images": {item.value: str(image_uri(info.version, region, item)) for item in info.architectures},
    }


def text(rows: list[dict[str, Any]]) -> str:
    """A table for people, the notes below it, and the images, each whole on a line of its own."""
    headings = ("VERSION", "PYTHON", "XGBOOST", "PATCHED UNTIL", "ARM64", "FEATURES")
    notes = [(f"{row['version']}:", row["note"]) for row in rows if row["note"]]
    parts = [table([headings, *(_cells(row) for row in rows)]), *([labelled(notes)] if notes else [])]
    return "\n\n".join([*parts, "\n".join(row["image"] for row in rows)])


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    warning = " !" if row["support"] in ("ending", "ended") else ""
    return (
        row["version"],
        row["python"] or "?",
        row["xgboost"] or "?",
        (row["end_of_patch"] or "not announced") + warning,
        "yes" if "arm64" in row["images"] else "-",
        ", ".join(row["features"]) or "-",
    )
