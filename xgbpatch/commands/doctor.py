"""`xgbpatch doctor`: what this machine lacks, and how to mend it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from xgbpatch.commands._options import json_option

if TYPE_CHECKING:
    from xgbpatch.doctor import Finding

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
    from xgbpatch.doctor import Level, examine

    findings = list(examine(region))
    if as_json:
        document = [
            {"name": finding.name, "level": finding.level.value, "seen": finding.seen, "fix": finding.fix}
            for finding in findings
        ]
        click.echo(json.dumps(document, indent=2))
    elif sys.stdout.isatty():
        _show_table(findings)
    else:
        for finding in findings:
            click.echo(f"{finding.level.value:8} {finding.name:12} {finding.seen}")
            if finding.fix:
                click.echo(f"{'':8} {'':12} -> {finding.fix}")
    sys.exit(any(finding.level is Level.MISSING for finding in findings))


def _show_table(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("", "check", "seen", "how to mend it")
    for finding in findings:
        level = Text(finding.level.value, style=_COLOURS[finding.level.value])
        table.add_row(level, finding.name, Text(finding.seen), Text(finding.fix))
    Console().print(table)
