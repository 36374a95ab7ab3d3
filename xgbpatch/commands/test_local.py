"""`xgbpatch test-local`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from xgbpatch.commands._options import (
    OutputFile,
    Selection,
    announce_logs,
    config_option,
    json_option,
    logs_option,
    quiet_option,
    write,
)
from xgbpatch.util import table

_COLOURS = {"passed": "green", "failed": "red", "skipped": "yellow"}


@click.command("test-local")
@click.argument("image", required=False)
@config_option
@click.option(
    "--model",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Serve this model directory instead of a model trained on abalone.",
)
@click.option("--against-base", is_flag=True, help="Also send the same requests to the base and compare every byte.")
@click.option("--base", default="", metavar="IMAGE", help="The base to compare with; by default the one in the labels.")
@click.option("--check", "checks", multiple=True, metavar="NAME", help="Only this check or group; repeatable.")
@json_option
@click.option("--junit", type=OutputFile(parents=True), help="Also write JUnit XML to this file.")
@logs_option
@click.option("--list", "listing", is_flag=True, help="Name every check and what it proves; runs nothing.")
@quiet_option
def command(
    image: str | None, config: Path | None, model: Path | None, against_base: bool, base: str, checks: tuple[str, ...],
    as_json: bool, junit: Path | None, logs: Path, listing: bool, quiet: bool,
) -> None:  # fmt: skip
    """Prove an image locally under SageMaker's contract.

    Trains, serves, batches and loads models on the local engine as SageMaker would, and proves each feature and fix
    that the image carries. IMAGE is a reference or an ID; by default the image of the last `xgbpatch build` of this
    configuration file, or of this folder where there is none. Exit code 8 when a check failed.

    \b
    Examples:
      xgbpatch test-local
      xgbpatch test-local my/image:tag --against-base --junit report.xml
      xgbpatch test-local --check serve --check batch.lines --json
      xgbpatch test-local --check shap --check fix
    """
    from xgbpatch import contract
    from xgbpatch.commands import _context
    from xgbpatch.config.settings import Flags
    from xgbpatch.contract import Options
    from xgbpatch.engine.client import Engine
    from xgbpatch.progress import shown
    from xgbpatch.publish import test_record

    if listing:
        click.echo(_listing(as_json))
        return
    with shown(quiet) as progress:
        announce_logs(logs, progress)
        options = Options(model, checks, against_base or bool(base), base, logs, progress=progress)
        with Engine.connect() as engine:
            if image is None:
                _, image = _context.last_build(engine, Selection(Flags(config=config)), progress)
            report = contract.check(engine, image, options)
    if junit is not None:
        write("--junit", junit, report.junit())
    if as_json:
        click.echo(json.dumps(report.document(), indent=2))
    elif report.results:
        click.echo(table(report.rows(), _COLOURS))
    click.echo(report.summary(), err=True)
    if not report.passed:
        raise test_record.failure(report.image, report)


def _listing(as_json: bool) -> str:
    from xgbpatch.contract import CHECKS

    if as_json:
        return json.dumps({check.name: check.what for check in CHECKS}, indent=2)
    return table([(check.name, check.what) for check in CHECKS])
