"""`xgbpatch fixes`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from xgbpatch.commands._options import json_option
from xgbpatch.util import labelled

if TYPE_CHECKING:
    from xgbpatch.patch.features import Fix


@click.command("fixes")
@click.option("--version", metavar="VERSION", help="Only what is known of this version of the official image.")
@json_option
def command(version: str | None, as_json: bool) -> None:
    """List known bugs of the official images, and what the fix of each does.

    Build with --fix NAME, or with --fix all for every bug that is known of the version. In the image a fix looks at the
    base first: where AWS has repaired the bug, the fix steps aside and says so in the log.

    \b
    Examples:
      xgbpatch fixes
      xgbpatch fixes --version 3.2-0
      xgbpatch fixes --json
    """
    from xgbpatch.catalogue import check_version
    from xgbpatch.patch.features import FIXES, fixes_of

    if version is not None:
        check_version(version)
    shown = tuple(FIXES.values()) if version is None else fixes_of(version)
    if as_json:
        click.echo(json.dumps({"version": version, "fixes": [row(fix) for fix in shown]}, indent=2))
    elif shown:
        click.echo("\n\n".join(text(fix) for fix in shown))
    else:
        click.echo(f"No bug is known of {version}.", err=True)


def row(fix: Fix) -> dict[str, Any]:
    """What `--json` prints of one fix."""
    return {
        "name": fix.name,
        "symptom": fix.symptom,
        "summary": fix.summary,
        "versions": list(fix.versions),
        "page": fix.page,
    }


def text(fix: Fix) -> str:
    """A paragraph for people."""
    lines = [
        ("seen on", ", ".join(fix.versions)),
        ("symptom", fix.symptom),
        ("the fix", fix.summary),
        ("more", fix.page),
    ]
    return f"{fix.name}\n{labelled(lines, indent='  ')}"
