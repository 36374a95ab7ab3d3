"""`xgbpatch usage`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xgbpatch.commands._options import Selection, config_option, json_option, quiet_option, regions_option
from xgbpatch.config.settings import Flags
from xgbpatch.util import table

if TYPE_CHECKING:
    from xgbpatch.upkeep.usage import Behind, Usage


@click.command("usage", short_help="List models and endpoints on superseded images, and what updates each.")
@regions_option
@config_option
@json_option
@quiet_option
def command(regions: tuple[str, ...], config: Path | None, as_json: bool, quiet: bool) -> None:
    """List the account's models and endpoints whose image is superseded.

    Every image that a model or an endpoint names is looked up in its registry. Its labels tell whether xgbpatch made
    it; before one is called superseded, or offered in its place, its content is held to them. It is superseded where
    AWS has moved the tag of its base since, or where its repository holds a newer image of the same name. Behind each
    stand the AWS CLI commands that update it, ready to paste. Changes nothing.

    \b
    Examples:
      xgbpatch usage
      xgbpatch usage --region us-west-2 --region eu-west-1
      xgbpatch usage --json | jq -r '.behind[].commands[]'
    """
    from xgbpatch.aws.sagemaker import SageMaker
    from xgbpatch.commands import _context
    from xgbpatch.upkeep.usage import usage

    places = [SageMaker(region) for region in Selection(Flags(config=config)).regions(regions)]
    with _context.services(quiet) as services:
        report = usage(places, services)
        for image, why in report.unknown.items():
            services.progress.line(f'"{image}" could not be looked at: {why}')
    click.echo(json.dumps(_document(report), indent=2) if as_json else _text(report))


def _document(usage: Usage) -> dict[str, Any]:
    behind = [
        {
            "kind": item.kind.value,
            "name": item.name,
            "region": item.region,
            "image": str(item.standing.image),
            "base": item.standing.provenance.base_name,
            "base_digest": item.standing.provenance.base_digest,
            "reasons": list(item.standing.reasons),
            "newest": str(item.standing.newest) if item.standing.newest else None,
            "commands": list(item.commands),
            "advice": item.advice,
        }
        for item in usage.behind
    ]
    unknown = [{"image": str(image), "message": why} for image, why in usage.unknown.items()]
    return {"behind": behind, "current": usage.current, "unknown": unknown}


def _text(usage: Usage) -> str:
    """A table, and below it by name why, and the commands."""
    if not usage.behind:
        return f"No model and no endpoint runs a superseded image; {usage.current} run a current one of xgbpatch."
    rows = [(item.kind.value, item.name, item.region, _short(item)) for item in usage.behind]
    lines = [table([("KIND", "NAME", "REGION", "IMAGE"), *rows]), ""]
    for item in usage.behind:
        comments = [*item.standing.reasons, *([item.advice] if item.advice else [])]
        title = f"{item.kind.value} {item.name} ({item.region})"
        lines += [*(f"# {line}" for line in (title, *comments)), *item.commands, ""]
    return "\n".join(lines).rstrip()


def _short(item: Behind) -> str:
    image = item.standing.image
    return f"{image.repository}:{image.tag}" if image.tag else f"{image.repository}@{image.digest[:19]}"
