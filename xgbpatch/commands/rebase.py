"""`xgbpatch rebase`: a published image onto a new base, without an engine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xgbpatch.commands._context import alias_document, local_tester
from xgbpatch.commands._options import json_option, logs_option, quiet_option

if TYPE_CHECKING:
    from xgbpatch.publish.aliases import MovedAlias
    from xgbpatch.reference import ImageReference
    from xgbpatch.upkeep.rebase import RebaseResult

_TO = "The new base.  [default: the old base's tag as it stands now]"
_TAG = "Tag of the result.  [default: the image's, with the new base's digest in it]"
_ALIAS = "Tag that moves to the result once test-local has passed on it (needs an engine); repeatable."


@click.command("rebase", short_help="Put a published image onto a new base, without an engine.")
@click.argument("image")
@click.option("--to", default="", metavar="DIGEST|REFERENCE", help=_TO)
@click.option("--tag", default="", metavar="TAG", help=_TAG)
@click.option("--alias", "aliases", multiple=True, metavar="TAG", help=_ALIAS)
@click.option("--accept-drift", is_flag=True, help="Go on where the bases differ in what the patch relies on.")
@logs_option
@json_option
@quiet_option
def command(
    image: str, to: str, tag: str, aliases: tuple[str, ...], accept_drift: bool, logs: Path, as_json: bool, quiet: bool
) -> None:
    """Put IMAGE, a reference in a registry, onto a new base and print the result by digest.

    The same layers of ours, a new configuration, and of the base's layers only those that the repository lacks: no
    engine, no build. First it is proven that IMAGE stands on the base that its label names and holds nothing else.
    Refused with exit code 20 where the new base differs in what the patch relies on; the difference is printed, and
    --accept-drift goes on after it. Where the packages of the image were resolved beside other versions, rebuild.

    \b
    Examples:
      xgbpatch rebase registry.example.com/xgboost:3.2-0-0123456789ab-89abcdef
      xgbpatch rebase registry.example.com/xgboost:prod --tag 3.2-0-november --alias prod
      xgbpatch rebase registry.example.com/xgboost:prod --to registry.example.com/base:3.2-0 --accept-drift --json
    """
    from xgbpatch.commands import _context
    from xgbpatch.publish import aliases as publish_aliases
    from xgbpatch.reference import ImageReference
    from xgbpatch.upkeep import rebase

    reference = ImageReference.parse(image)
    tag = ImageReference.parse(f"{reference.name}:{tag}").tag if tag else ""
    with _context.services(quiet) as services:
        tester = local_tester(services, logs)
        rebased = rebase.rebase(services, reference, _base(to), tag=tag, accept_drift=accept_drift)
        services.progress.line(f'"{rebased.reference}" {"is up to date" if rebased.up_to_date else "was pushed"}')
        moved: tuple[MovedAlias, ...] = ()
        if not as_json:  # now: the image stands, whatever becomes of its aliases
            click.echo(str(rebased.reference.pinned))
        try:
            if aliases:
                moved = publish_aliases.promote(services, rebased.reference, aliases, tester).moved
        finally:
            if as_json:
                click.echo(json.dumps(document(rebased, moved), indent=2))


def document(rebased: RebaseResult, moved: Sequence[MovedAlias]) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "reference": str(rebased.reference.pinned),
        "tag": rebased.reference.tag,
        "base": {"name": str(replace(rebased.base, digest="")), "digest": rebased.base.digest},
        "up_to_date": rebased.up_to_date,
        "accepted": list(rebased.accepted),
        "traffic": asdict(rebased.traffic),
        "aliases": [alias_document(alias) for alias in moved],
    }


def _base(to: str) -> ImageReference | None:
    """A digest alone is one of the old base's repository."""
    from xgbpatch.reference import ImageReference

    if to.startswith("sha256:"):
        return replace(ImageReference.parse(f"base@{to}"), repository="")
    return ImageReference.parse(to) if to else None
