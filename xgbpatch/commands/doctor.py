"""`xgbpatch doctor`: what this machine lacks, and how to mend it."""

from __future__ import annotations

import json
import sys

import click

from xgbpatch.commands._options import json_option
from xgbpatch.util import table

_COLOURS = {"ok": "green", "warning": "yellow", "missing": "red"}


@click.command("doctor")
@click.option("--region", default="", metavar="REGION", help="Check this region. [default: the configured one]")
@json_option
def command(region: str, as_json: bool) -> None:
    """Look at the engine, disk, AWS credentials, region, clock and tools, and say how to mend what is missing.

    Exits 0 when nothing is missing (warnings do not count), 1 otherwise. Changes nothing, but like every command it
    removes containers that an xgbpatch killed earlier left behind. Where it cannot see whether that xgbpatch still runs
    (in another container, on another machine, before a reboot), it names the containers and leaves them alone.

    \b
    Examples:
      xgbpatch doctor
      xgbpatch doctor --region eu-west-1
      xgbpatch doctor --json
    """
    from xgbpatch.aws import require_region
    from xgbpatch.doctor import Level, examine

    if region:
        require_region(region)
    findings = list(examine(region))
    if as_json:
        document = [
            {"name": finding.name, "level": finding.level.value, "seen": finding.summary, "fix": finding.fix}
            for finding in findings
        ]
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(table([(finding.level.value, finding.name, finding.summary) for finding in findings], _COLOURS))
        fixes = [f"{finding.name}: {finding.fix}" for finding in findings if finding.fix]
        if fixes:  # whole, for a command is copied from here
            click.echo("\n".join(["", *fixes]))
    sys.exit(any(finding.level is Level.MISSING for finding in findings))
