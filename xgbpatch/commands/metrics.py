"""`xgbpatch metrics`: what a training prints, as SageMaker must be told for a private image; it knows its own alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import click

from xgbpatch.commands._options import json_option
from xgbpatch.errors import ConfigurationError

MOST = 40  # MetricDefinitions of one training job: CreateTrainingJob, AlgorithmSpecification
Direction = Literal["Minimize", "Maximize"]
_THRESHOLD = re.compile(r"(error|ndcg|map)@[0-9.]+-?")  # what the base's eval_metric takes with a parameter
_DIRECTIONS: Mapping[str, Direction] = {"": "Minimize", "minimize": "Minimize", "maximize": "Maximize"}
SEGMENTS = {"validation": ("validation",), "train": ("train",), "both": ("train", "validation")}


@dataclass(frozen=True)
class Metric:
    """A metric of a round, by the name that the log gives it: `logged` is a regular expression."""

    name: str
    direction: Direction
    logged: str
    tunable: bool = True

    def definition(self, segment: str) -> dict[str, str]:
        """An entry of `MetricDefinitions`, for the rows of `segment`: train or validation.

        The regular expression finds the metric wherever it stands in a line, behind a tab or CloudWatch's `#011`.
        """
        return {
            "Name": f"{segment}:{self.name}",
            "Regex": _table()["regex"].format(segment=segment, metric=self.logged),
        }

    @property
    def objective(self) -> dict[str, str]:
        """What a tuning job takes as its `HyperParameterTuningJobObjective`."""
        return {"MetricName": f"validation:{self.name}", "Type": self.direction}


@click.command("metrics")
@click.argument("names", metavar="[METRIC]...", nargs=-1)
@click.option("--version", metavar="VERSION", help="Version of the official image.  [default: the newest]")
@click.option(
    "--split",
    type=click.Choice(list(SEGMENTS)),
    default="validation",
    show_default=True,
    help="The rows that they are of.",
)
@json_option
def command(names: tuple[str, ...], version: str | None, split: str, as_json: bool) -> None:
    """Print the metric definitions that SageMaker needs to follow and tune a training with your image.

    SageMaker knows the metrics of its own images, not of a private one. A METRIC is a name, a name with a threshold
    (error@0.7), or one of yours as the hyperparameter xgbpatch_metrics names it (my_module.my_metric:maximize). Without
    any, all are printed; SageMaker takes 40 for one job.

    \b
    Examples:
      xgbpatch metrics
      xgbpatch metrics rmse mae --split both
      xgbpatch metrics auc my_module.profit:maximize --json | jq .metric_definitions
    """
    from xgbpatch.catalogue import check_version, versions

    if version is not None:
        check_version(version)
    known = metrics_of({info.version: info.xgboost for info in versions()}.get(version or "", ""))
    if not known:
        raise ConfigurationError(f"the metrics of {version} are not known", "They are from 1.2-1 on.")
    chosen = tuple(metric(name, known) for name in names) or known
    definitions = [each.definition(segment) for segment in SEGMENTS[split] for each in chosen]
    if len(definitions) > MOST:
        click.echo(f"SageMaker takes {MOST} of these {len(definitions)} for one job: name those you need.", err=True)
    objectives = [each.objective for each in chosen if each.tunable]
    if as_json:
        document = {"version": version, "metric_definitions": definitions, "tuning_objectives": objectives}
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(text(chosen, definitions))


def text(metrics: tuple[Metric, ...], definitions: list[dict[str, str]]) -> str:
    """A table for people: a line a definition."""
    from xgbpatch.util import aligned

    types = {each.name: each.direction for each in metrics}
    rows = [(item["Name"], types[item["Name"].split(":", 1)[1]], item["Regex"]) for item in definitions]
    return aligned([("NAME", "TYPE", "REGEX"), *rows])


def metrics_of(xgboost: str) -> tuple[Metric, ...]:
    """Those that the image with that xgboost computes, by name; of the newest where `xgboost` is empty."""
    from packaging.version import Version

    release = Version(xgboost).release[:2] if xgboost else None
    rows = (row for row in _table()["metrics"] if release is None or tuple(row["since"]) <= release)
    return tuple(Metric(row["name"], row["type"], row.get("logged", row["name"])) for row in rows)


def metric(text: str, known: tuple[Metric, ...]) -> Metric:
    """The one that `text` means: a name, a name with a threshold (`error@0.7`), or a metric of the user's by its
    dotted path (`my_module.my_metric:maximize`), as `xgbpatch_metrics` takes it. Raises `ConfigurationError`."""
    from xgbpatch.util import did_you_mean

    named = {each.name: each for each in known}
    if text in named:
        return named[text]
    threshold = _THRESHOLD.fullmatch(text)
    if threshold:
        return Metric(text, named[threshold[1]].direction, re.escape(text), tunable=False)
    path, _, direction = text.partition(":")
    if "." in path and all(part.isidentifier() for part in path.split(".")) and direction in _DIRECTIONS:
        name = path.rpartition(".")[2]
        return Metric(name, _DIRECTIONS[direction], re.escape(name))
    raise ConfigurationError(
        f'"{text}" is not a metric of this image',
        f"{did_you_mean(text, tuple(named))} One of yours is named by its path, such as my_module.my_metric:maximize.",
    )


@cache
def _table() -> Mapping[str, Any]:
    table: Mapping[str, Any] = json.loads(files("xgbpatch").joinpath("data/metrics.json").read_text(encoding="utf-8"))
    return table
