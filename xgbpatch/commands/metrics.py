"""`xgbpatch metrics`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from xgbpatch.commands._options import json_option
from xgbpatch.util import table

if TYPE_CHECKING:
    from xgbpatch.metrics import Metric

SEGMENTS = {"validation": ("validation",), "train": ("train",), "both": ("train", "validation")}


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

    SageMaker knows the metrics of its own images, not of a private one. A METRIC is a name, a name with a number
    (error@0.7, ndcg@5-), or one of yours as the hyperparameter xgbpatch_metrics names it
    (my_module.my_metric:maximize). Without any, all are printed; SageMaker takes 40 for one job.

    \b
    Examples:
      xgbpatch metrics
      xgbpatch metrics rmse mae --split both
      xgbpatch metrics auc my_module.profit:maximize --json | jq .metric_definitions
    """
    from xgbpatch.catalogue import check_version, versions
    from xgbpatch.errors import ConfigurationError
    from xgbpatch.metrics import MOST, metric, metrics_of

    if version is not None:
        check_version(version)
    known = metrics_of({info.version: info.xgboost for info in versions()}.get(version or "", ""))
    if not known:
        raise ConfigurationError(
            f"the metrics of {version} are not known", "They are known of 1.2-1 and later versions."
        )
    chosen = tuple(dict.fromkeys(metric(name, known) for name in names)) or known
    definitions = [each.definition(segment) for segment in SEGMENTS[split] for each in chosen]
    if len(definitions) > MOST:
        click.echo(f"SageMaker takes {MOST} of these {len(definitions)} for one job: name those you need.", err=True)
    objectives = [each.objective for each in chosen]
    for each in chosen:
        if each.needs_fix:
            click.echo(f"{each.name}: only an image with the fix metrics can be tuned on it.", err=True)
    if as_json:
        document = {"version": version, "metric_definitions": definitions, "tuning_objectives": objectives}
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(text(chosen, definitions))


def text(metrics: tuple[Metric, ...], definitions: list[dict[str, str]]) -> str:
    """A table for people: a line a definition."""
    types = {each.name: each.direction for each in metrics}
    rows = [(item["Name"], types[item["Name"].split(":", 1)[1]], item["Regex"]) for item in definitions]
    return table([("NAME", "TYPE", "REGEX"), *rows])
