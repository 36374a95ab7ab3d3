"""`xgbpatch rollback`: an alias tag goes back to what it named before."""

from __future__ import annotations

import json

import click

from xgbpatch.commands._context import alias_document
from xgbpatch.commands._options import json_option, quiet_option


@click.command("rollback", short_help="Move an alias tag back to what it named before.")
@click.argument("repository")
@click.option("--alias", "name", required=True, metavar="TAG", help="Tag that moves.")
@click.option("--to", default="", metavar="DIGEST", help="Go to this image instead, which was promoted or tested once.")
@json_option
@quiet_option
def command(repository: str, name: str, to: str, as_json: bool, quiet: bool) -> None:
    """Move an alias tag of REPOSITORY (host/repository) back to what it named before; print that image by digest.

    Nothing is tested: the image was promoted before. The two targets change places, so a second rollback goes forward
    again. What the alias was taken away from is also kept as TAG.withdrawn.

    \b
    Examples:
      xgbpatch rollback registry.example.com/xgboost --alias prod
      xgbpatch rollback registry.example.com/xgboost --alias prod --json
    """
    from xgbpatch.commands import _context
    from xgbpatch.publish import aliases
    from xgbpatch.reference import ImageReference

    place = ImageReference.parse(repository)
    digest = ImageReference.parse(f"{place.name}@{to}").digest if to else ""
    with _context.services(quiet) as services:
        moved = aliases.rollback(services, place, name, digest)
        services.progress.line(f'"{moved.alias.tag}" went back from "{moved.before}" to "{moved.alias.digest}"')
    document = {"reference": str(moved.alias.pinned), **alias_document(moved)}
    click.echo(json.dumps(document, indent=2) if as_json else str(moved.alias.pinned))
