"""`xgbpatch report`."""

from __future__ import annotations

import json
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xgbpatch.commands._options import OutputFile, OutputFolder, json_option, quiet_option, write

if TYPE_CHECKING:
    from xgbpatch.report import HtmlReport

_FILE = click.Path(path_type=Path)
_DATA = "The rows that were explained, in the same order: CSV, libsvm or Parquet; a file or a folder; repeatable."
_LABELS = "Their labels, one a line, or a Parquet file of one column. libsvm has its own."
_NAMES = "Names of the features: a file with one a line, or a JSON list.  [default: those of the files, or f0, f1, …]"
_LABEL_FIRST = "The first column of --data is the label."
_COHORT = "Column of --data whose values make cohorts; one with many values is cut in quarters."
_COMPARE = "Other explanations of the same model, to show what has moved; repeatable."
_ROW = "Number of a row to draw, from 1; repeatable.  [default: the highest and the lowest prediction]"
_CLASSES = "Classes of the model, where the files do not say.  [default: 1, or by --names]"
_JOINED = "The features stand before the prediction in each line (batch transform with its input joined)."
_IMAGE = "The image that explained, which the engine holds: its provenance stands in the page."
_MODEL = "The model (a file, a folder or model.tar.gz, of which nothing is loaded): what is known of it, and its names."
_EVEN_SO = "Make the page where base value and SHAP values do not add up to most predictions, too."


@click.command("report", short_help="Draw explained predictions as one HTML page.")
@click.argument("explanations", nargs=-1, required=True, metavar="EXPLANATIONS...", type=_FILE)
@click.option("--output", type=OutputFile(), default=Path("report.html"), show_default=True, help="The page.")
@click.option("--png", type=OutputFolder(), help="Folder for the charts as PNG files.")
@click.option("--data", multiple=True, metavar="FILE", type=_FILE, help=_DATA)
@click.option("--label-first", is_flag=True, help=_LABEL_FIRST)
@click.option("--labels", multiple=True, metavar="FILE", type=_FILE, help=_LABELS)
@click.option("--names", metavar="FILE", type=_FILE, help=_NAMES)
@click.option("--cohort", default="", metavar="COLUMN", help=_COHORT)
@click.option("--compare", multiple=True, metavar="FILE", type=_FILE, help=_COMPARE)
@click.option("--row", "rows", multiple=True, type=click.IntRange(min=1), metavar="NUMBER", help=_ROW)
@click.option("--classes", type=click.IntRange(min=1), metavar="COUNT", help=_CLASSES)
@click.option("--class", "output_class", type=click.IntRange(min=0), default=0, show_default=True, metavar="NUMBER",
              help="Class that charts of single rows show.")  # fmt: skip
@click.option("--joined", is_flag=True, help=_JOINED)
@click.option("--title", default="What moves the predictions", show_default=True, help="Title of the page.")
@click.option("--prediction", default="prediction", show_default=True, metavar="WORD", help="What is predicted.")
@click.option("--unit", default="", metavar="WORD", help="Unit of the predictions, such as rings or USD.")
@click.option("--model", metavar="MODEL", type=_FILE, help=_MODEL)
@click.option("--image", metavar="IMAGE", help=_IMAGE)
@click.option("--even-so", is_flag=True, help=_EVEN_SO)
@json_option
@quiet_option
def command(
    explanations: tuple[Path, ...], output: Path, png: Path | None, data: tuple[Path, ...], label_first: bool,
    labels: tuple[Path, ...], names: Path | None, cohort: str, compare: tuple[Path, ...], rows: tuple[int, ...],
    classes: int | None, output_class: int, joined: bool, title: str, prediction: str, unit: str, model: Path | None,
    image: str | None,
    even_so: bool, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Draw what moves predictions: one HTML page that needs no other file, and prints the path of it.

    EXPLANATIONS are files or folders of what an image with the feature shap answers: batch transform's output, answers
    of an endpoint (CSV, JSON, JSON Lines), Parquet with our column names, or data capture of an endpoint, whose
    requests are the features. Files are read once, a block at a time; points are drawn of a sample, totals are
    over all rows.

    Needs the extra "report"; Parquet needs "parquet".

    \b
    Examples:
      xgbpatch report validation.csv.out --data validation.csv --names names.txt
      xgbpatch report transform-output/ --data input/ --labels labels.csv --cohort sex --unit rings --png pictures
      xgbpatch report capture/2026/11/ --compare capture/2026/10/ --output drift.html
    """
    from xgbpatch import progress
    from xgbpatch import report as reports
    from xgbpatch.errors import ConfigurationError
    from xgbpatch.report.explanations import Hints
    from xgbpatch.report.features import Beside
    from xgbpatch.report.figures import Words
    from xgbpatch.report.summary import Shown

    if cohort and not (data or joined):
        raise ConfigurationError("--cohort needs the column's values", "--data names the rows that were explained.")
    facts, known_names = model_facts(model) if model else ([], ())
    facts += image_facts(image, quiet) if image else []
    with progress.shown(quiet) as progress_shown:
        beside = Beside(data, labels, label_first, cohort, read_names(names) if names else known_names)
        report = reports.make(
            explanations, hints=Hints(classes, joined=joined, unequal=even_so), beside=beside, compare=compare,
            shown=Shown(rows, output_class), words=Words(prediction, unit, title), facts=facts,
            progress=progress_shown,
        )  # fmt: skip
        if png:
            for name, picture in report.pictures():
                write("--png", png / name, picture)
        write("--output", output, report.html.encode())
        if misses := _misses(report):
            progress_shown.line(
                f"warning: base value and SHAP values miss the prediction in {misses} rows; see the page"
            )
    click.echo(json.dumps(document(report, output, png), indent=2) if as_json else str(output))


def document(report: HtmlReport, output: Path, png: Path | None) -> dict[str, Any]:
    """What `--json` prints: the numbers of the page, over all rows."""
    summary = report.summary
    return {
        "output": str(output),
        "pictures": [str(png / f"{figure.key}.png") for figure in report.figures] if png else [],
        "rows": summary.totals.count,
        "sample": len(summary.sample),
        "unexplained": summary.unexplained,
        "not_additive": _misses(report),
        "importance": {summary.names[place]: float(summary.importance[place]) for place in summary.order},
        "quality": {name: value if isfinite(value) else None for name, value, _ in summary.quality.measures()}
        if summary.quality
        else {},
    }


def read_names(path: Path) -> tuple[str, ...]:
    """The names in a file: a JSON list of texts, or one a line."""
    from xgbpatch.errors import ConfigurationError

    try:
        text = path.read_text(encoding="utf-8-sig")
        names = json.loads(text) if text.lstrip().startswith("[") else text.splitlines()
    except ValueError as error:
        raise ConfigurationError(f'"{path}" holds no names: {error}', "One a line, or a JSON list.") from error
    if not names or not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise ConfigurationError(f'"{path}": names are texts, none twice and none empty', "One a line, or a JSON list.")
    return tuple(names)


def _misses(report: HtmlReport) -> int:
    additivity = report.summary.totals.additivity
    return additivity.misses.get(additivity.link, 0)


def model_facts(path: Path) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    """(name, text) of what is known of a model without loading it, and the names of its features, or none."""
    import hashlib

    from xgbpatch.commands.inspect import model_document
    from xgbpatch.inspection import model_archive, model_file

    facts = [("model", path.name)]
    if not path.is_dir():
        content = path.read_bytes()
        facts = [("model", f"{path.name}, {len(content):,} bytes, sha256:{hashlib.sha256(content).hexdigest()}")]
        if file := model_file.recognise(content):
            wrote = f", written by xgboost {file.xgboost}" if file.xgboost else ""
            return [*facts, ("its format", file.format.title + wrote)], ()
    about = model_document(model_archive.read(path))
    record = about["record"] or {}
    facts += [("models in it", ", ".join(about["models"]) or "none at the top")]
    facts += [(f"its {key}", str(record[key])) for key in ("objective", "rounds", "xgboost", "base") if key in record]
    return facts, tuple(map(str, about["feature_names"] or ()))


def image_facts(image: str, quiet: bool) -> list[tuple[str, str]]:
    """(name, text) of where an image comes from, that the engine holds; raises `BaseImageError` for one of others."""
    from xgbpatch import provenance
    from xgbpatch.commands import _context
    from xgbpatch.errors import BaseImageError

    with _context.engine_builder(quiet) as builder:
        labels = provenance.read(builder.engine.require_image(image).labels)
    if labels is None:
        raise BaseImageError(f'"{image}" was not made by xgbpatch, so it has no provenance')
    return [
        ("image made by", f"xgbpatch {labels.tool_version}, {labels.created}"),
        ("version of the official image", labels.version),
        ("base", f"{labels.base_name}@{labels.base_digest}"),
        ("features of the image", ", ".join(labels.features) or "none"),
        ("fixes of the image", ", ".join(labels.fixes) or "none"),
        ("patch", labels.patch_digest),
    ]
