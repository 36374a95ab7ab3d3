"""`xgbpatch explain`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xgbpatch.commands._options import OutputFolder, json_option, quiet_option

if TYPE_CHECKING:
    from xgbpatch.explanation.engines import RowEngine
    from xgbpatch.explanation.estimate import Estimate
    from xgbpatch.explanation.files import Part
    from xgbpatch.explanation.places import Place
    from xgbpatch.progress import Progress

_FILE = click.Path(path_type=Path)


class _Place(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has no arguments
    """A path, or `s3://bucket/key`; `output`: a folder that can be written into."""

    name = "place"

    def __init__(self, output: bool = False) -> None:
        self._output = output

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        from xgbpatch.aws.s3 import SCHEME, S3Location

        if not value:  # an unset variable of a shell, which would be the working folder
            self.fail("it is empty", param, ctx)
        place = S3Location.parse(value) if value.startswith(SCHEME) else Path(value)
        if self._output and isinstance(place, Path):
            OutputFolder().convert(value, param, ctx)
        return place


@click.command("explain", short_help="Write SHAP values of files of rows: here, in an image, or on SageMaker.")
@click.argument("model", metavar="MODEL", type=_Place())
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...", type=_Place())
@click.option("--output", type=_Place(output=True), help="Folder of the parts; a run that was killed goes on there.")
@click.option(
    "--format", "form", type=click.Choice(["csv", "parquet"]), default="csv", show_default=True, help="Of the parts."
)
@click.option("--names", metavar="FILE", type=_FILE, help="Names of the features, one a line.  [default: the model's]")
@click.option("--label-first", is_flag=True, help="The first column of INPUT is a label, and left out.")
@click.option(
    "--on-error", type=click.Choice(["stop", "skip"]), default="stop", show_default=True,
    help="What becomes of a line that cannot be read.",
)  # fmt: skip
@click.option("--threads", type=click.IntRange(1), metavar="N", help="CPUs to use here.  [default: all]")
@click.option("--image", metavar="IMAGE", help="Explain in a container of this image, or on SageMaker with it.")
@click.option("--on", "where", type=click.Choice(["here", "sagemaker"]), default="here", show_default=True,
              help="This machine, or a batch transform job.")  # fmt: skip
@click.option("--instances", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Of the job.")
@click.option("--instance-type", default="ml.m5.xlarge", show_default=True, metavar="TYPE", help="Of the job.")
@click.option("--role", default="", metavar="ARN", help="The job's role in IAM.")
@click.option("--region", default="", metavar="REGION", help="Of the job.  [default: the image's]")
@click.option("--no-wait", is_flag=True, help="Start the job and go; the same command waits for it.")
@click.option("--estimate", is_flag=True, help="Measure some seconds and tell how long the whole takes; write nothing.")
@click.option("--rows", type=click.IntRange(1), metavar="N",
              help="With --estimate: so many rows, of which INPUT is a sample.")  # fmt: skip
@click.option("--price-per-hour", type=click.FloatRange(min=0), metavar="PRICE",
              help="With --estimate: of one instance, to tell the cost.")  # fmt: skip
@json_option
@quiet_option
def command(
    model: Place, inputs: tuple[Place, ...], output: Place | None, form: str, names: Path | None, label_first: bool,
    on_error: str, threads: int | None, image: str | None, where: str, instances: int, instance_type: str, role: str,
    region: str, no_wait: bool, estimate: bool, rows: int | None, price_per_hour: float | None, as_json: bool,
    quiet: bool,
) -> None:  # fmt: skip
    """Write prediction, base value and one SHAP value a feature for every row of files, and print the folder.

    MODEL is a file that this machine's xgboost reads, a model folder or a model.tar.gz with one model; pickles are not
    opened. INPUT are files or folders of CSV, JSON Lines (lists of numbers), libsvm (features counted from 0) or
    Parquet. MODEL, INPUT and the output may be s3://bucket/key.

    20,000 lines are a part. A finished part stays, with its digest in explain.json: after a kill, the same command goes
    on behind it, and the parts are those of an undisturbed run. Needs the extra "explain"; Parquet needs "parquet".

    With --image, the image's own server explains, in a container on this machine: with its xgboost, and several models
    or pickles too. With --on sagemaker, a batch transform job does, which needs --image in ECR, --role, and MODEL, one
    INPUT and the output in S3; CSV or libsvm without a header.

    \b
    Examples:
      xgbpatch explain model.tar.gz validation.csv --output explained
      xgbpatch explain xgboost-model input/ --output explained --format parquet --on-error skip
      xgbpatch explain s3://bucket/model.tar.gz s3://bucket/rows/ --output s3://bucket/explained
      xgbpatch explain model.tar.gz sample.csv --estimate --rows 10000000 --instances 4 --price-per-hour 0.3
    """
    from xgbpatch import progress
    from xgbpatch.aws.s3 import S3
    from xgbpatch.commands.report import read_names
    from xgbpatch.errors import ConfigurationError, ExtraMissingError

    try:
        from xgbpatch.explanation import estimate as estimates
        from xgbpatch.explanation import files, places
    except ImportError as error:  # numpy
        raise ExtraMissingError("xgbpatch explain", "explain") from error
    if output is None and not estimate:
        raise ConfigurationError("--output is missing", "Name a folder, or --estimate.")
    if (rows or price_per_hour is not None) and not estimate:
        raise ConfigurationError("--rows and --price-per-hour are for --estimate")
    if where == "sagemaker" and not estimate:
        unfit = {"--format parquet": form == "parquet", "--names": names, "--on-error skip": on_error == "skip",
                 "--threads": threads, "second INPUT": len(inputs) > 1}  # fmt: skip
        if several := [name for name, value in unfit.items() if value]:
            raise ConfigurationError(f"a batch transform job has no {several[0]}", "Leave it out.")
        with progress.shown(quiet) as shown:
            job = _transform(model, inputs[0], output, image, role, region, instance_type, instances, label_first,
                             not no_wait, shown)  # fmt: skip
        return click.echo(json.dumps({"output": str(output), **job}, indent=2) if as_json else str(output))
    s3 = S3()
    if output is not None:
        places.require_apart(inputs, output)
    user_names = read_names(names) if names else ()
    with progress.shown(quiet) as shown, places.fetched(model, s3) as path:
        watcher, sources = _Lines(shown), places.inputs_of(inputs, s3)
        with _engine(path, image if where == "here" else None, threads, shown) as (engine, digest):
            known = user_names or (() if engine.names else _names_beside(path))
            options = files.ExplainOptions(known, form == "parquet", on_error == "skip", label_first)
            if estimate or output is None:
                measured = estimates.estimate(engine, sources, options, watcher, rows or 0)
                if (load := os.getloadavg()[0]) > 1.5 * (os.cpu_count() or 1):
                    shown.line(f"warning: this machine is busy (load {load:.0f}): a quiet one has a higher rate")
                figures = estimate_document(measured, instances, price_per_hour)
                return click.echo(json.dumps(figures, indent=2) if as_json else estimate_text(figures))
            try:
                parts = files.explain(engine, digest, sources, places.output_of(output, s3), options, watcher)
            except KeyboardInterrupt as interrupt:
                # `BaseException.add_note`, which Python 3.10 lacks
                interrupt.__notes__ = [  # type: ignore[attr-defined]
                    *getattr(interrupt, "__notes__", ()), "the same command goes on behind the last part"
                ]  # fmt: skip
                raise
        for empty in files.without_rows(sources, parts):
            shown.line(f'warning: "{empty.shown}" gave no row')
    return click.echo(json.dumps(document(str(output), parts), indent=2) if as_json else str(output))


def _names_beside(model: Path) -> tuple[str, ...]:
    """The names of features that the feature `training` left in a folder or an archive; or none."""
    from xgbpatch.errors import ConfigurationError
    from xgbpatch.inspection import model_archive

    try:
        archive = model_archive.read(model)
    except ConfigurationError:  # a model alone
        return ()
    return tuple(map(str, archive.document("feature_names.json", list) or ()))


@contextmanager
def _engine(path: Path, image: str | None, threads: int | None, shown: Progress) -> Iterator[tuple[RowEngine, str]]:
    """What explains the model at `path`, and the model's digest."""
    import hashlib

    from xgbpatch.cache import sha256_of
    from xgbpatch.conversion import source
    from xgbpatch.engine.client import Engine
    from xgbpatch.errors import ConfigurationError
    from xgbpatch.explanation import engines
    from xgbpatch.inspection.model_file import Format
    from xgbpatch.overlays.native.engine import spare_threads
    from xgbpatch.overlays.shap.values import cpus

    with source.opened(path) as opened:
        digests = [sha256_of(model.path) for model in opened.models]
        if image is not None:
            models = [(model.name, model.path) for model in opened.models]
            digest = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
            with (
                Engine.connect() as engine,
                engines.served(
                    engine, engine.require_image(image), models, threads or spare_threads(os.environ, 1, cpus())
                ) as served,
            ):
                yield served, digest
            return
        if len(opened.models) > 1:
            several = ", ".join(each.name for each in opened.models)
            raise ConfigurationError(
                f'"{path}" holds several models: {several}', "Name one of them, or --image, which takes their mean."
            )
        only = opened.models[0]
        if only.file.format is Format.PICKLE:
            raise ConfigurationError(
                f'"{only.name}" is a pickle, which runs code', "xgbpatch convert-model --unpickle, or --image"
            )
        here = engines.loaded(only.path, threads)
        if here.note:
            shown.line(f"note: {here.note}")
        yield here, digests[0]


def _transform(
    model: Place, source: Place, output: Place | None, image: str | None, role: str, region: str, instance_type: str,
    instances: int, label_first: bool, wait: bool, shown: Progress,
) -> dict[str, object]:  # fmt: skip
    """The job of `--on sagemaker`: its name and status."""
    from xgbpatch.aws import require_region
    from xgbpatch.aws.s3 import S3
    from xgbpatch.aws.sagemaker import TransformJobs
    from xgbpatch.commands._context import connect_services
    from xgbpatch.errors import BaseImageError, ConfigurationError
    from xgbpatch.explanation import transform
    from xgbpatch.provenance import read
    from xgbpatch.reference import ImageReference
    from xgbpatch.registry.client import load_image

    if isinstance(model, Path) or isinstance(source, Path) or output is None or isinstance(output, Path):
        raise ConfigurationError("SageMaker reads MODEL and INPUT in S3, and writes there",
                                 "aws s3 cp, then name s3://bucket/key")  # fmt: skip
    if not image or not role:
        raise ConfigurationError("--on sagemaker needs --image and --role", "An image that was pushed to ECR; the ARN "
                                 "of a role that SageMaker may take and that reads and writes the bucket.")  # fmt: skip
    reference = ImageReference.parse(image)
    if reference.ecr is None:
        raise ConfigurationError(f'"{image}" is not in ECR, from where SageMaker takes images', "xgbpatch push")
    region = region or reference.ecr.region
    require_region(region)
    remote = load_image(connect_services(shown).registry, reference)
    labels = read(remote.labels)
    if labels is None or "shap" not in labels.features:
        raise BaseImageError(f'"{image}" does not carry the feature "shap"', "xgbpatch build --feature shap")
    s3 = S3()
    request = transform.Transform(
        remote.reference, model, source, output, role, instance_type, instances, label_first
    )  # fmt: skip
    job = transform.prepare(request, s3)
    transform_job = transform.run(job, TransformJobs(region), s3, _Files(shown), wait=wait)
    if not wait:
        shown.line("the same command waits for it, and removes the model that it made")
    return {"job": transform_job.name, "status": transform_job.status}


def document(output: str, parts: list[Part]) -> dict[str, object]:
    """What `--json` prints."""
    return {
        "output": output,
        "parts": [part.name for part in parts],
        "rows": sum(part.rows for part in parts),
        "skipped": sum(len(part.skipped) for part in parts),
    }


def estimate_document(measured: Estimate, instances: int, price: float | None) -> dict[str, object]:
    """What `--estimate --json` prints: `cost` is null where no price was given."""
    return {
        "rows": measured.rows,
        "rows_exact": measured.exact,
        "measured": measured.measured,
        "rows_per_second": measured.rate,
        "rows_per_cpu_second": measured.cpu_rate,
        "hours": measured.hours,
        "instances": instances,
        "hours_of_each": measured.hours / instances,
        "cost": None if price is None else measured.hours * price,
    }


def estimate_text(figures: dict[str, Any]) -> str:
    """The same for people."""
    about = "" if figures["rows_exact"] else "about "
    cost = "" if figures["cost"] is None else f"; {figures['cost']:.2f} at the price given"
    each = "1 instance" if figures["instances"] == 1 else f"{figures['instances']} instances"
    return "\n".join([
        f"rows           {about}{figures['rows']:,}",
        f"here           {figures['rows_per_second']:,.0f} rows a second (measured on {figures['measured']:,})",
        f"               {figures['rows_per_cpu_second']:,.0f} rows a second of this process's processor time",
        f"whole          {_hours(figures['hours'])} of a machine like this one",
        f"{each:<15}{_hours(figures['hours_of_each'])} where each is as fast{cost}; their start is not in it",
    ])  # fmt: skip


def _hours(hours: float) -> str:
    if hours < 1 / 60:
        return "under a minute"
    return f"{hours:.2f} hours" if hours >= 0.1 else f"{hours * 60:.1f} minutes"


class _Lines:
    """Says how far the work is: rows, rows a second, and the time left, as this run goes."""

    def __init__(self, shown: Progress) -> None:
        self._shown, self._begun = shown, time.monotonic()
        self._rows = self._resumed = self._before = 0

    def part(self, part: Part, done: int, total: int, resumed: bool) -> None:
        self._rows += part.rows
        if resumed:
            self._resumed, self._before = self._rows, done
            return
        seconds = max(time.monotonic() - self._begun, 1e-9)
        rate = (self._rows - self._resumed) / seconds
        before = f", {self._resumed:,} of them before" if self._resumed else ""
        left = "" if done <= self._before else f", about {seconds * (total - done) / (done - self._before):,.0f} s left"
        note = f"{self._rows:,} rows{before}; {rate:,.0f} rows a second{left}"
        self._shown.update("explained", done, total, note)

    def skipped(self, reason: str) -> None:
        self._shown.line(f"left out: {reason}")


class _Files:
    """Says what a job is and how many of its files are done."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown
        self._last = -1

    def line(self, text: str) -> None:
        self._shown.line(text)

    def files(self, done: int, total: int) -> None:
        if done != self._last:
            self._shown.line(f"{done} of {total} files are explained")
        self._last = done
