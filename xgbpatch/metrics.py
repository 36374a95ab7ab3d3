"""The metrics that a training prints, as SageMaker has to be told for a private image: it knows its own images only."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from packaging.version import Version

from xgbpatch.errors import ConfigurationError
from xgbpatch.util import did_you_mean

MOST = 40  # MetricDefinitions of one training job: CreateTrainingJob, AlgorithmSpecification
Direction = Literal["Minimize", "Maximize"]
_WITH_NUMBER = re.compile(r"(?P<name>[a-z-]*[a-z])(@(?P<number>\d+(\.\d+)?))?(?P<ending>-?)")


@dataclass(frozen=True)
class Metric:
    """A metric of a round, by the name that the log gives it: `logged` is a regular expression.

    The base refuses those with `needs_fix` as what is tuned on, and some as a metric at all.
    """

    name: str
    direction: Direction
    logged: str
    needs_fix: bool = False

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


def metrics_of(xgboost: str) -> tuple[Metric, ...]:
    """Those that the image with that xgboost computes, by name; of the newest where `xgboost` is empty."""
    release = Version(xgboost).release[:2] if xgboost else None
    rows = (row for row in _table()["metrics"] if release is None or tuple(row["since"]) <= release)
    return tuple(Metric(row["name"], row["type"], row.get("logged", row["name"])) for row in rows)


def metric(text: str, known: tuple[Metric, ...]) -> Metric:
    """The one that `text` means: a name, a name with a threshold (`error@0.7`), or a metric of the user's by its
    dotted path (`my_module.my_metric:maximize`), as `xgbpatch_metrics` takes it. Raises `ConfigurationError`."""
    named = {each.name: each for each in known}
    if text in named:
        return named[text]
    parts = _WITH_NUMBER.fullmatch(text)
    if parts and parts["name"] in _table()["by_fix" if parts["number"] is None else "numbered"]:
        direction = _table()["by_fix"][parts["name"]]
        return Metric(text, direction, re.escape(_printed(**parts.groupdict())), needs_fix=True)
    path, _, direction = text.partition(":")
    if "." in path and all(part.isidentifier() for part in path.split(".")) and direction in _DIRECTIONS:
        name = path.rpartition(".")[2]
        return Metric(name, _DIRECTIONS[direction], re.escape(name))
    raise ConfigurationError(
        f'"{text}" is not a metric of this image',
        f"{did_you_mean(text, tuple(named))} One of yours is named by its path, such as my_module.my_metric:maximize.",
    )


def _printed(name: str, number: str | None, ending: str) -> str:
    """The name of a metric with a number, as xgboost writes it: error@0.70 is error@0.7, error@0.5 is error."""
    plain = number is None or (name == "error" and float(number) == 0.5)
    return f"{name}{'' if plain else f'@{float(number or 0):g}'}{ending}"


_DIRECTIONS: Mapping[str, Direction] = {"": "Minimize", "minimize": "Minimize", "maximize": "Maximize"}


@cache
def _table() -> Mapping[str, Any]:
    table: Mapping[str, Any] = json.loads(files("xgbpatch").joinpath("data/metrics.json").read_text(encoding="utf-8"))
    return table
