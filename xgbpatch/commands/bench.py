"""`xgbpatch bench`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xgbpatch.commands._options import OutputFile, json_option, quiet_option, write
from xgbpatch.util import table

if TYPE_CHECKING:
    from xgbpatch.bench.runner import Subject
    from xgbpatch.engine.client import Engine


@click.command("bench")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--against-base", is_flag=True, help="Measure the base of the first image beside them, and compare.")
@click.option("--base", default="", metavar="IMAGE", help="The base to compare with; by default the one in the labels.")
@click.option(
    "--peer", "peers", multiple=True, metavar="IMAGE",
    help="Another image to set beside, which serves /opt/ml/model on port 8080 as SageMaker asks; repeatable.",
)  # fmt: skip
@click.option(
    "--mode", "modes", multiple=True, type=click.Choice(["single-model", "batch", "multi-model"]),
    help="Only this mode; repeatable.",
)  # fmt: skip
@click.option(
    "--model", "models", multiple=True, type=click.Choice(["A", "B", "C", "E", "F"]), help="Only this; repeatable."
)
@click.option(
    "--rows", multiple=True, type=click.IntRange(1), metavar="N",
    help="Records a request, of batch transform a job; repeatable.",
)  # fmt: skip
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Turns of each image in a case.")
@click.option("--seconds", type=click.IntRange(1), default=2, show_default=True, help="Of a turn.")
@click.option("--clients", type=click.IntRange(1), default=4, show_default=True, help="That ask at once.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Of each server.")
@click.option(
    "--quick", is_flag=True, help="A short look: one mode, model A, 1 and 100 records, two turns of a second."
)
@json_option
@click.option("--markdown", is_flag=True, help="Print the table as Markdown.")
@click.option("--html", "page", type=OutputFile(parents=True), help="Also write one HTML page with plots to this file.")
@quiet_option
def command(
    images: tuple[str, ...], against_base: bool, base: str, peers: tuple[str, ...], modes: tuple[str, ...],
    models: tuple[str, ...], rows: tuple[int, ...], rounds: int, seconds: int, clients: int, workers: int, quick: bool,
    as_json: bool, markdown: bool, page: Path | None, quiet: bool,
) -> None:  # fmt: skip
    """Measure what requests to images cost, side by side.

    Servers of all images run at once, each with one worker, and are asked by turns: requests and records a second, p50
    and p99, processor time a request of the whole container, the largest process's memory, and ratios to the base (else
    to the first image), turn by turn. A is a model of 8 features and 50 trees, B of 100 and 500, C of 100 and 1,000
    deeper ones, E of 30 and 20 of depth 16, F of 20 and 100; the xgboost of the base trains them. In batch mode what is
    more than 6 MB is a job: a turn sends all of it, in requests of 6 MB. Each answer is compared: a wrong one is not
    counted. A peer has to predict the same numbers; it always explains where its image has the label
    io.xgbpatch.bench.explains, else never. wrk asks where it is installed, else aiohttp. All containers are gone at the
    end. Exit code 8 where an answer was wrong.

    \b
    Examples:
      xgbpatch bench my/image:tag --against-base --quick
      xgbpatch bench my/image:tag --against-base --html bench.html --json
      xgbpatch bench one:tag other:tag --mode multi-model --model B --rows 2000
      xgbpatch bench my/image:tag --against-base --mode batch --model F --rows 1000000 --rounds 1
    """
    from xgbpatch.bench import cases, load, report, runner
    from xgbpatch.commands._context import cache_folder
    from xgbpatch.engine.client import Engine
    from xgbpatch.errors import ContractError
    from xgbpatch.progress import shown

    load.require_client()
    pace = runner.Pace(2, 1, clients, workers) if quick else runner.Pace(rounds, seconds, clients, workers)
    chosen = cases.cases(
        modes or (("single-model",) if quick else cases.MODES), models or (("A",) if quick else cases.MODELS),
        rows or ((1, 100) if quick else cases.ROWS), shap=True,
    )  # fmt: skip
    results = []
    with shown(quiet) as progress, Engine.connect() as engine:
        subjects = _subjects(engine, images, base, against_base or bool(base), peers)
        if not any(subject.explains for subject in subjects):
            chosen = tuple(case for case in chosen if not case.explained)
        names = list(dict.fromkeys(case.model for case in chosen))
        folders = runner.models(engine, subjects[0].image, names, cache_folder() / "bench", progress)
        for result in runner.run(engine, subjects, chosen, folders, pace, progress):
            results.append(result)
    if page is not None:
        write("--html", page, report.page(results, " ".join(["xgbpatch", *sys.argv[1:]])).encode())
    if as_json:
        click.echo(json.dumps(report.document(results), indent=2))
    else:
        lines = report.rows(results)
        click.echo(report.markdown(lines) if markdown else table(lines))
        click.echo(report.machine())
    wrong = [
        f"{result.case}: {name}" for result in results for name, figures in result.figures.items() if figures.wrong
    ]
    if wrong:
        raise ContractError(
            f"answers were wrong, or did not come within 65 s: {'; '.join(wrong)}",
            "Look at the container's log of such a request.",
        )


def _subjects(
    engine: Engine, images: tuple[str, ...], base: str, against_base: bool, peers: tuple[str, ...]
) -> list[Subject]:
    from xgbpatch.bench.runner import EXPLAINS_LABEL, Subject
    from xgbpatch.contract.checks.image import labelled_base
    from xgbpatch.contract.model import read_carried
    from xgbpatch.errors import BaseImageError

    measured = [engine.require_image(image) for image in images]
    subjects = []
    if against_base:
        local = engine.require_image(base) if base else labelled_base(engine, measured[0])
        if local is None:
            raise BaseImageError(
                f'the engine does not hold the base of "{images[0]}"', "Pull it, or give --base IMAGE."
            )
        subjects.append(Subject("base", local))
    subjects += [
        Subject(name, image, "shap" in read_carried(image).features)
        for name, image in zip(images, measured, strict=True)
    ]
    for name in peers:
        image = engine.require_image(name)
        subjects.append(Subject(name, image, EXPLAINS_LABEL in image.labels, peer=True))
    return subjects
