"""`xgbpatch promote`: an alias tag moves to an image that test-local has passed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xgbpatch.commands._context import alias_document, local_tester
from xgbpatch.commands._options import json_option, logs_option, quiet_option

if TYPE_CHECKING:
    from xgbpatch.publish.aliases import Promotion


@click.command("promote", short_help="Move an alias tag to an image once test-local has passed on it.")
@click.argument("image")
@click.option("--alias", "aliases", multiple=True, required=True, metavar="TAG", help="Tag that moves; repeatable.")
@logs_option
@json_option
@quiet_option
def command(image: str, aliases: tuple[str, ...], logs: Path, as_json: bool, quiet: bool) -> None:
    """Move an alias tag to IMAGE, a reference in a registry, and print IMAGE by digest.

    The alias moves only after test-local has passed on that very digest. The record of an earlier pass is attached to
    the image in its registry; where there is none, the image is pulled, tested now and removed again. Exit code 8 when
    a check fails, or where the image has xgbpatch's labels and another content (it was built on such an image): the
    alias stays where it is. What it named before stays known as TAG.previous, for
    `xgbpatch rollback`.

    \b
    Examples:
      xgbpatch promote registry.example.com/xgboost:3.2-0-0123456789ab-89abcdef --alias prod
      xgbpatch promote registry.example.com/xgboost:candidate --alias staging --alias prod --json
    """
    from xgbpatch.commands import _context
    from xgbpatch.publish import aliases as publish_aliases
    from xgbpatch.reference import ImageReference

    reference = ImageReference.parse(image)
    with _context.services(quiet) as services:
        promoted = publish_aliases.promote(services, reference, aliases, local_tester(services, logs))
    click.echo(json.dumps(document(promoted), indent=2) if as_json else str(promoted.image.pinned))


def document(promoted: Promotion) -> dict[str, Any]:
    """What `--json` prints."""
    from xgbpatch.publish import test_record

    return {
        "reference": str(promoted.image.pinned),
        "tag": promoted.image.tag,
        "tested_now": promoted.tested_now,
        "test": test_record.document(promoted.record),
        "aliases": [alias_document(moved) for moved in promoted.moved],
    }
