"""Metrics in the log of a training: the base's, found by what `xgbpatch metrics` prints, and the user's own."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import xgboost
from test_training_artefacts import job, served, trainers  # noqa: F401 - fixtures
from xgbpatch_overlays.training import options

XGBOOST = tuple(int(part) for part in xgboost.__version__.split(".")[:2])
TABLE = json.loads((Path(options.__file__).resolve().parents[2] / "data/metrics.json").read_text())
KNOWN = [row["name"] for row in TABLE["metrics"] if tuple(row["since"]) <= XGBOOST]
OWN = "training_metrics_of_user."
UNTRAINABLE = ["aft-nloglik", "interval-regression-accuracy"]  # the base never hands over the bounds that they need
OBJECTIVES = {
    "reg:squarederror": "rmse mae mape rmsle mphe mse r2 gamma-nloglik gamma-deviance poisson-nloglik cox-nloglik",
    "binary:logistic": "logloss error auc aucpr accuracy f1 f1_binary f1_macro"
    " balanced_accuracy precision recall ndcg map",
    "multi:softprob": "merror mlogloss precision_macro precision_micro recall_macro recall_micro",
    "reg:tweedie": "tweedie-nloglik",
}


@pytest.fixture(scope="module")
def trainer(trainers):  # noqa: F811
    return trainers[1]


def logged(outcome):
    """The lines of the log as CloudWatch has them: a tab is #011."""
    return (outcome.folder / "stdout").read_text().replace("\t", "#011").splitlines()


def values(outcome, name, segment="validation"):
    """What the printed regex of that metric finds, a number a line."""
    matches = [re.search(regex(name, segment), line) for line in logged(outcome)]
    return [float(match.group(1)) for match in matches if match]


def regex(name, segment="validation"):
    logged_as = {row["name"]: row.get("logged") for row in TABLE["metrics"]}.get(name)
    return TABLE["regex"].format(segment=segment, metric=logged_as or re.escape(name))


def test_every_metric_of_the_table_is_tried():
    metric_names = {name for names in OBJECTIVES.values() for name in names.split()}
    assert metric_names | set(UNTRAINABLE) == {row["name"] for row in TABLE["metrics"]}


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
def test_each_regex_finds_its_metric_in_every_line(trainer, objective):
    names = [name for name in OBJECTIVES[objective].split() if name in KNOWN]
    hyperparameters = (
        {} if objective == "reg:tweedie" else {"eval_metric": ",".join(names)}
    )  # its default; xgboost 1.x refuses it
    outcome = trainer.run(job(objective, num_round="3", **hyperparameters))
    assert outcome.code == 0, outcome.output
    for name in names:
        for segment in ("train", "validation"):
            expected = [value for _, metrics in outcome.rounds for value in of_metric(metrics, segment, name)]
            np.testing.assert_array_equal(values(outcome, name, segment), expected)
            assert len(expected) == 3


def of_metric(metrics, segment, name):
    """Its value in a round: xgboost logs a parameter behind some names (tweedie-nloglik@1.5)."""
    return [value for key, value in metrics.items() if key.split("@")[0] == segment + "-" + name]


def test_a_survival_model_is_not_trained_by_the_base(trainer):
    outcome = trainer.run(job("survival:aft", eval_metric="aft-nloglik"))
    assert outcome.code == 1
    assert not outcome.rounds


def test_the_regex_finds_the_summary_of_folds_and_thresholds(trainer):
    outcome = trainer.run(job("binary:logistic", eval_metric="error@0.7,error", _kfold="2", num_round="2"))
    assert outcome.code == 0, outcome.output
    assert len(values(outcome, "error@0.7")) == 2 * 2 + 1
    assert len(values(outcome, "error")) == 2 * 2 + 1


@pytest.mark.parametrize("spelling", ["1.5e-07", "-0.25", "nan", "inf", "-inf"])
def test_the_regex_takes_every_number(spelling):
    line = f"[12]#011train-rmse:1#011validation-rmse:{spelling}#011validation-mae:2"
    assert re.search(regex("rmse"), line).group(1) == spelling


def test_the_table_names_the_metrics_that_the_base_tunes():
    """Directions too, but for one: the share of right predictions is better the higher, and the base minimises it."""
    from sagemaker_xgboost_container.algorithm_mode import metrics

    base = {metric.name: metric.direction for metric in metrics.initialize().metrics.values()}
    ours = {"validation:" + row["name"]: row["type"] for row in TABLE["metrics"] if row["name"] in KNOWN}
    assert ours == {**base, "validation:interval-regression-accuracy": "Maximize"}


def test_nothing_of_ours_looks_like_a_metric(trainers):  # noqa: F811
    plain, ours = (each.run(job(eval_metric="rmse,mae")) for each in trainers)
    assert [len(values(outcome, "rmse")) for outcome in (plain, ours)] == [6, 6]


@pytest.mark.parametrize(
    "objective",
    [
        "reg:squarederror",
        "binary:logistic",
        "binary:logitraw",
        "binary:hinge",
        "reg:tweedie",
        "multi:softprob",
        "multi:softmax",
    ],
)
def test_a_metric_of_the_users_gets_labels_and_the_predictions_that_are_served(trainer, objective):
    training_job = job(
        objective, eval_metric="auc" if objective == "binary:logistic" else "rmse", xgbpatch_metrics=OWN + "seen"
    )
    if objective.startswith("multi:"):
        training_job.hyperparameters["eval_metric"] = "merror"
    outcome = trainer.run(training_job)
    assert outcome.code == 0, outcome.output
    last = [json.loads(line) for line in (outcome.folder / "output/data/seen").read_text().splitlines()][-1]
    rows = training_job.channels["validation"]
    predicted = served(outcome).booster.predict(xgboost.DMatrix(rows[:, 1:]))
    np.testing.assert_allclose(last[0], rows[:, 0], rtol=1e-6)
    np.testing.assert_allclose(last[1], predicted, rtol=1e-5, atol=1e-6)
    error = np.abs(rows[:, :1] - predicted.reshape(len(rows), -1)).mean()
    assert values(outcome, "seen")[-1] == pytest.approx(error, abs=1e-5)
    assert len(values(outcome, "seen")) == len(values(outcome, training_job.hyperparameters["eval_metric"])) == 6


def test_a_metric_of_the_users_leaves_the_model_as_it_is(trainers):  # noqa: F811
    plain, ours = trainers[0].run(job()), trainers[1].run(job(xgbpatch_metrics=OWN + "seen"))
    assert [path.read_bytes() for path in ours.models] == [path.read_bytes() for path in plain.models]
    assert values(ours, "rmse") == values(plain, "rmse") != []


def test_a_tuning_job_may_name_a_metric_of_the_users(trainer):
    hyperparameters = {"xgbpatch_metrics": OWN + "seen:maximize", "_tuning_objective_metric": "validation:seen"}
    outcome = trainer.run(job("binary:logistic", eval_metric="accuracy,logloss", **hyperparameters))
    assert outcome.code == 0, outcome.output
    assert [len(values(outcome, name)) for name in ("seen", "accuracy", "logloss")] == [6, 6, 6]


@pytest.mark.skipif(XGBOOST < (1, 3), reason="1.2 knows no metric to stop by: test_maximizing_is_refused")
@pytest.mark.parametrize(("direction", "rounds"), [("minimize", 4), ("maximize", 20)])
def test_early_stopping_by_a_metric_of_the_users(trainer, direction, rounds):
    """`spread` grows in every round: minimising it ends the training three rounds after the first."""
    hyperparameters = {"xgbpatch_metrics": OWN + "spread:" + direction, "_tuning_objective_metric": "validation:spread"}
    outcome = trainer.run(job(num_round="20", early_stopping_rounds="3", **hyperparameters))
    assert outcome.code == 0, outcome.output
    assert abs(len(outcome.rounds) - rounds) <= 1


@pytest.mark.skipif(XGBOOST >= (1, 3), reason="from 1.3 on early stopping is told the direction")
def test_maximizing_is_refused_where_early_stopping_would_minimize(trainer):
    outcome = trainer.run(job(early_stopping_rounds="3", xgbpatch_metrics=OWN + "spread:maximize"))
    assert outcome.code == 1
    assert "early stopping of xgboost 1.2.0 would minimise it" in outcome.output


def test_a_metric_that_fails_at_once_ends_the_job(trainer):
    outcome = trainer.run(job(xgbpatch_metrics=OWN + "broken"))
    assert outcome.code == 1
    assert 'xgbpatch_metrics: "broken" failed: ZeroDivisionError: by me' in outcome.output


def test_a_metric_that_fails_later_is_nan_and_the_job_goes_on(trainer):
    outcome = trainer.run(job(xgbpatch_metrics=OWN + "later"))
    assert outcome.code == 0, outcome.output
    assert np.isnan(values(outcome, "later")).any()
    assert 'xgbpatch_metrics: "later" failed, its value is nan' in outcome.output


def test_one_trainer_without_the_feature_knows_no_metric_of_the_users(trainers):  # noqa: F811
    outcome = trainers[0].run(job(xgbpatch_metrics=OWN + "seen"))
    assert outcome.code == 1
    assert os.listdir(str(outcome.folder / "model")) == []
