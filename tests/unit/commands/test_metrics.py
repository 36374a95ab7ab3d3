"""`xgbpatch metrics`; tests/overlays/test_training_metrics.py holds its expressions against real trainings."""

import json
import re

import pytest
from click.testing import CliRunner

from xgbpatch.commands.metrics import command
from xgbpatch.errors import ConfigurationError
from xgbpatch.metrics import MOST, metrics_of

LINE = "[7]#011" + "#011".join([
    "train-rmse:1.5",
    "train-error@0.7:0.1",
    "validation-rmse:2.5",
    "validation-error@0.7:0.25",
    "validation-profit:3",
])  # fmt: skip


def run(*arguments):
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result


def document(*arguments):
    return json.loads(run(*arguments, "--json").stdout)


def found(definitions, line=LINE):
    """The value of each definition, its one group, as SageMaker takes it."""
    matches = {item["Name"]: re.search(item["Regex"], line) for item in definitions}
    return {name: match.groups() for name, match in matches.items() if match}


def test_definitions_find_their_own_values_in_one_line():
    printed = document("rmse", "error@0.7", "my_module.profit:maximize", "--split", "both")
    assert found(printed["metric_definitions"]) == {
        "train:rmse": ("1.5",),
        "train:error@0.7": ("0.1",),
        "validation:rmse": ("2.5",),
        "validation:error@0.7": ("0.25",),
        "validation:profit": ("3",),
    }


def test_an_expression_takes_no_other_metric_for_its_own():
    line = "[7]#011validation-f1_macro:1#011validation-rmsle:2#011validation-error@0.7:3"
    assert list(found(document()["metric_definitions"], line)) == ["validation:f1_macro", "validation:rmsle"]


def test_tuning_objectives_say_which_way():
    printed = document("rmse", "auc", "error@0.7", "my_module.profit:maximize")
    assert printed["tuning_objectives"] == [
        {"MetricName": "validation:rmse", "Type": "Minimize"},
        {"MetricName": "validation:auc", "Type": "Maximize"},
        {"MetricName": "validation:error@0.7", "Type": "Minimize"},
        {"MetricName": "validation:profit", "Type": "Maximize"},
    ]


@pytest.mark.parametrize(
    ("name", "logged", "direction"),
    [
        ("error@0.70", "error@0.7", "Minimize"),
        ("error@0.5", "error", "Minimize"),
        ("ndcg@5-", "ndcg@5-", "Maximize"),
        ("pre", "pre", "Maximize"),
        ("quantile", "quantile", "Minimize"),
        ("ams@0.15", "ams@0.15", "Maximize"),
        ("tweedie-nloglik@1.30", "tweedie-nloglik@1.3", "Minimize"),
    ],
)
def test_a_metric_with_a_number_is_found_as_xgboost_prints_it(name, logged, direction):
    printed = document(name)
    assert printed["tuning_objectives"] == [{"MetricName": f"validation:{name}", "Type": direction}]
    line = f"[7]#011train-{logged}:1#011validation-{logged}:2"
    assert found(printed["metric_definitions"], line) == {f"validation:{name}": ("2",)}
    assert "only an image with the fix metrics" in run(name).stderr


@pytest.mark.parametrize(("version", "count"), [("1.2-2", 25), ("1.3-1", 33), ("3.2-0", 33)])
def test_a_version_prints_the_metrics_that_it_has(version, count):
    definitions = document("--version", version)["metric_definitions"]
    assert len(definitions) == count
    rows = run("--version", version).stdout.splitlines()[1:]
    assert sum(line.startswith("validation:") for line in rows) == count


def test_all_definitions_are_within_the_limits_of_sagemaker():
    definitions = document()["metric_definitions"]
    assert len(definitions) <= MOST
    assert all(len(item["Regex"]) <= 500 and len(item["Name"]) <= 255 for item in definitions)


def test_more_than_sagemaker_takes_is_said():
    assert "SageMaker takes 40 of these 66" in run("--split", "both").stderr


@pytest.mark.parametrize("name", ["rmes", "rmse@1", "quantile@2", "profit", "my_module.profit:up", "my_module."])
def test_an_unknown_metric_is_refused(name):
    with pytest.raises(ConfigurationError, match=f'"{re.escape(name)}" is not a metric'):
        CliRunner().invoke(command, [name], catch_exceptions=False)


def test_a_metric_that_is_named_twice_is_defined_once():
    assert [item["Name"] for item in document("rmse", "mae", "rmse")["metric_definitions"]] == [
        "validation:rmse", "validation:mae",
    ]  # fmt: skip


def test_a_version_without_a_table_is_refused():
    with pytest.raises(ConfigurationError, match=r"the metrics of 0\.90-1 are not known"):
        CliRunner().invoke(command, ["--version", "0.90-1"], catch_exceptions=False)


def test_the_newest_is_the_default():
    assert metrics_of("") == metrics_of("3.2.0")
