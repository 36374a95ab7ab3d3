"""`xgbpatch explain`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xgbpatch.commands._options import OutputFolder, json_option, quiet_option

if TYPE_CHECKING:
    from xgbpatch.explanation.files import Part
    from xgbpatch.progress import Progress

_FILE = click.Path(path_type=Path)


@click.command("explain", short_help="Write SHAP values of files of rows, on this machine.")
@click.argument("model", metavar="MODEL", type=_FILE)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...", type=_FILE)
@click.option(
    "--output", required=True, type=OutputFolder(), help="Folder of the parts; a run that was killed goes on there."
)
@click.option(
    "--format", "form", type=click.Choice(["csv", "parquet"]), default="csv", show_default=True, help="Of the parts."
)
@click.option("--names", metavar="FILE", type=_FILE, help="Names of the features, one a line.  [default: the model's]")
@click.option("--label-first", is_flag=True, help="The first column of INPUT is a label, and left out.")
@click.option(
    "--on-error",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    show_default=True,
    help="What becomes of a line that cannot be read.",
)
@json_option
@quiet_option
def command(
    model: Path, inputs: tuple[Path, ...], output: Path, form: str, names: Path | None, label_first: bool,
    on_error: str, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Write prediction, base value and one SHAP value a feature for every row of files, and print the folder.

    MODEL is a file that this machine's xgboost reads, a model folder or a model.tar.gz with one model; pickles are not
    opened. INPUT are files or folders of CSV, JSON Lines (lists of numbers), libsvm (features counted from 0) or
    Parquet.

    20,000 lines are a part. A finished part stays, with its digest in explain.json: after a kill, the same command goes
    on behind it, and the parts are those of an undisturbed run. Needs the extra "explain"; Parquet needs "parquet".

    \b
    Examples:
      xgbpatch explain model.tar.gz validation.csv --output explained
      xgbpatch explain xgboost-model input/ --output explained --format parquet --on-error skip
      xgbpatch report explained --data validation.csv
    """
    from xgbpatch import progress
    from xgbpatch.commands.report import read_names
    from xgbpatch.conversion import source
    from xgbpatch.errors import ConfigurationError
    from xgbpatch.explanation import files
    from xgbpatch.inspection.model_file import Format

    options = files.Options(read_names(names) if names else (), form == "parquet", on_error == "skip", label_first)
    with source.opened(model) as opened, progress.shown(quiet) as shown:
        if len(opened.models) > 1:
            several = ", ".join(each.name for each in opened.models)
            raise ConfigurationError(f'"{model}" holds several models: {several}', "Name one of them.")
        only = opened.models[0]
        if only.file.format is Format.PICKLE:
            raise ConfigurationError(f'"{only.name}" is a pickle, which runs code', "xgbpatch convert-model --unpickle")
        parts = files.explain(only.path, inputs, output, options, _Lines(shown))
    click.echo(json.dumps(document(output, parts), indent=2) if as_json else str(output))


def document(output: Path, parts: list[Part]) -> dict[str, object]:
    """What `--json` prints."""
    return {
        "output": str(output),
        "parts": [part.name for part in parts],
        "rows": sum(part.rows for part in parts),
        "skipped": sum(len(part.skipped) for part in parts),
    }


class _Lines:
    """Says on stderr how far the work is: rows, rows a second, and the time left, as this run goes."""

    def __init__(self, shown: Progress) -> None:
        import time

        self._shown, self._clock, self._begun = shown, time.monotonic, time.monotonic()
        self._rows = self._resumed = 0
        self._share = 0.0

    def part(self, part: Part, share: float, resumed: bool) -> None:
        self._rows += part.rows
        if resumed:
            self._resumed, self._share = self._rows, share
            return
        seconds = max(self._clock() - self._begun, 1e-9)
        rate = (self._rows - self._resumed) / seconds
        before = f", {self._resumed:,} of them before" if self._resumed else ""
        left = seconds * (1 - share) / (share - self._share) if share > self._share else None
        time_left = "" if left is None else f", about {left:,.0f} s left"
        self._shown.line(f"{self._rows:,} rows{before}; {rate:,.0f} rows a second{time_left}")

    def skipped(self, reason: str) -> None:
        self._shown.line(f"left out: {reason}")
