"""The fixes `metrics`, `objectives` and `early-stopping`: a job does what xgboost alone does on the same rows.

Jobs run the base's own `train`, one process each.
"""

import csv
import io
import json
import os
import pickle

import numpy as np
import pytest
import xgboost
from sagemaker_algorithm_toolkit import exceptions
from sagemaker_containers._recordio import _read_recordio
from sagemaker_containers.record_pb2 import Record
from sagemaker_xgboost_container.algorithm_mode import hyperparameter_validation, serve_utils
from sagemaker_xgboost_container.algorithm_mode import metrics as base_metrics
from xgbpatch_overlays.fixes import _validation, metrics, objectives

from support.overlays import zoo
from support.overlays.training_jobs import Job, Trainer

XGBOOST = tuple(int(part) for part in xgboost.__version__.split(".")[:2])
OLD = XGBOOST < (1, 3)  # callbacks are functions, models are pickles
KNOWS_QUANTILES = XGBOOST >= (2, 0)
X = np.random.RandomState(0).rand(240, 4).round(4)
CLASSES = np.digitize(X.sum(1), [1.7, 2.2])
AMOUNTS = 3 * X[:, 0] - X[:, 1]
SHARES = ((AMOUNTS - AMOUNTS.min()) / np.ptp(AMOUNTS)).round(4)
LIFETIMES = np.where(np.arange(240) % 3 == 0, -1, 1) * (AMOUNTS + 2).round(4)  # each third was observed no longer
TRAINED = slice(0, 160)
HELD_OUT = slice(160, 240)


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    before = os.environ.get("OMP_WAIT_POLICY")
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # xgboost's threads that spin would wait for each other
    with Trainer(tmp_path_factory.mktemp("training")) as started:
        if before is None:
            del os.environ["OMP_WAIT_POLICY"]
        yield started


def job(label, rounds=3, validation=True, checkpoints=False, **hyperparameters):
    """A job on the issue's rows; without a validation channel on all of them."""
    table = np.column_stack([label, X])
    channels = {"train": table[TRAINED], "validation": table[HELD_OUT]} if validation else {"train": table}
    return Job(dict({"num_round": str(rounds)}, **hyperparameters), channels, checkpoints)


def matrix(label, rows):
    return xgboost.DMatrix(X[rows].astype(np.float32), label=np.asarray(label)[rows])


def alone(label, parameters, rounds=3, rows=TRAINED, prepare=lambda each: each):
    """xgboost's own booster and history on the rows of `job`."""
    train, held_out = (prepare(matrix(label, each)) for each in (rows, HELD_OUT))
    history = {}
    watched = [(train, "train"), (held_out, "validation")]
    booster = xgboost.train(parameters, train, rounds, evals=watched, evals_result=history, verbose_eval=False)
    return booster, history


def booster(outcome, number=0):
    path = outcome.models[number]
    return pickle.loads(path.read_bytes()) if OLD else xgboost.Booster(model_file=str(path))


def printed(outcome, name):
    return [reported[name] for _, reported in outcome.rounds]


def done(outcome):
    assert outcome.code == 0, outcome.output
    return outcome


def refused(outcome, *texts):
    """A mistake of the user's, said before the first round."""
    assert (outcome.code, outcome.rounds) == (1, [])
    assert "UserError: " in outcome.output
    for text in texts:
        assert text in outcome.output
    return outcome


# metrics


SOFTPROB = {"objective": "multi:softprob", "num_class": "3", "eval_metric": "auc"}


@pytest.mark.parametrize("objective", ["multi:softprob", "multi:softmax"])
def test_auc_of_classes(trainer, objective):
    training_job = job(CLASSES, validation=False, **dict(SOFTPROB, objective=objective))
    refused(trainer.run(training_job), "'auc'")
    outcome = trainer.run(training_job, "metrics")
    if XGBOOST < (1, 4):
        refused(outcome, "'auc'", "xgboost 1.", "label size predict size not match")
        return
    _, history = alone(CLASSES, dict(SOFTPROB, objective=objective), rows=slice(None))
    assert printed(done(outcome), "train-auc") == pytest.approx(history["train"]["auc"], abs=1e-5)
    if XGBOOST >= (3, 2):
        assert printed(outcome, "train-auc") == [0.98886, 0.99869, 0.99948]


RECORDIO = "application/x-recordio-protobuf"
NATIVE = ["auc", "error@0.7", "error@0.70001", "map@3", "map@3-", "ndcg@5", "ndcg@5-", "ndcg-", "pre@3", "ams@0.15"]


@pytest.mark.parametrize("objective", ["reg:logistic", "binary:logistic"])
def test_metrics_that_the_base_refuses_are_xgboosts(trainer, objective):
    label = (CLASSES > 0).astype(float)
    training_job = job(label, objective=objective, eval_metric=",".join(NATIVE))
    refused(trainer.run(training_job))
    outcome = done(trainer.run(training_job, "metrics"))
    _, history = alone(label, {"objective": objective, "eval_metric": NATIVE})
    for name, values in history["validation"].items():
        assert printed(outcome, "validation-" + name) == pytest.approx(values, abs=1.1e-5)


@pytest.mark.parametrize(
    ("hyperparameters", "says"),
    [
        ({"eval_metric": "rmse,foo"}, "foo"),
        ({"eval_metric": "auc"}, "auc"),  # amounts have none
        ({"eval_metric": "auc@3"}, "auc"),
        ({"eval_metric": "error@x"}, "error"),
        ({"_tuning_objective_metric": "validation:foo"}, "foo"),
        ({"_tuning_objective_metric": "train:rmse"}, "train:rmse"),
        ({"eval_metric": "aft-nloglik"}, "aft-nloglik"),
    ],
    ids=["unknown", "amounts", "no-threshold", "no-number", "tuned", "segment", "lifetimes"],
)
def test_what_xgboost_does_not_compute_is_the_users_error(trainer, hyperparameters, says):
    refused(trainer.run(job(AMOUNTS, objective="reg:squarederror", **hyperparameters), "metrics"), says)


DIRECTIONS = {
    "binary:logistic": {
        "error@0.70": ("error@0.7", False),
        "error@0.5": ("error", False),
        "ndcg@5-": ("ndcg@5-", True),
        "map@3": ("map@3", True),
        "pre@3": ("pre@3", True),
        "aucpr": ("aucpr", True),
        "logloss": ("logloss", False),
    },
    "rank:pairwise": {"ndcg@5": ("ndcg@5", True), "pre@2": ("pre@2", True)},
    "reg:squarederror": {"mphe": ("mphe", False), "ndcg-": ("ndcg-", True)},
    "reg:gamma": {"gamma-deviance": ("gamma-deviance", False), "mape": ("mape", False)},
    "reg:tweedie": {"tweedie-nloglik@1.30": ("tweedie-nloglik@1.3", False)},
    "survival:aft": {"interval-regression-accuracy": ("interval-regression-accuracy", True)},
}


@pytest.mark.parametrize("objective", DIRECTIONS)
def test_metrics_are_told_by_xgboosts_name_and_in_the_right_direction(objective):
    for name, expected in DIRECTIONS[objective].items():
        printed = metrics.printed_metric({"objective": objective}, name)
        assert (name, printed.name, printed.maximize) == (name, *expected)


BY_TRIAL = {"auc": True, "logloss": False, "pre@3": True, "map": True, "rmse": False, "error@0.7": False}


def test_a_metric_without_a_name_in_the_bases_list_is_told_by_trial():
    for name, better in BY_TRIAL.items():
        assert (name, _validation.metric({"objective": "binary:logistic"}, name).maximize) == (name, better)
    assert _validation.metric({"objective": "survival:aft"}, "interval-regression-accuracy").maximize
    assert not _validation.metric({"objective": "survival:cox"}, "cox-nloglik").maximize
    if XGBOOST >= (1, 4):
        assert _validation.metric({"objective": "multi:softprob", "num_class": 4}, "auc").maximize
    if KNOWS_QUANTILES:
        job = {"objective": "reg:quantileerror", "quantile_alpha": "[0.1, 0.9]"}
        assert _validation.metric(job, "quantile") == _validation.PrintedMetric("quantile", False)


DOUBTFUL = (SHARES + np.random.RandomState(1).normal(0, 0.25, 240) > 0.5).astype(float)
STOPPING = {
    "ndcg": ({"eval_metric": "ndcg@40"}, "ndcg@40", True),
    "threshold": ({"_tuning_objective_metric": "validation:error@0.70"}, "error@0.7", False),
    "precision": ({"eval_metric": "logloss,pre@40"}, "pre@40", True),
    "container": ({"eval_metric": "f1"}, "f1", True),
}


@pytest.mark.parametrize("name", STOPPING)
def test_early_stopping_goes_by_a_metric_that_xgboost_knows(trainer, name):
    """It ends two rounds after the best one; the line of the last is printed or not, up to 1.7-1 and by chance."""
    hyperparameters, metric, maximize = STOPPING[name]
    stopping = dict(hyperparameters, early_stopping_rounds="2", max_depth="2", objective="binary:logistic")
    outcome = done(trainer.run(job(DOUBTFUL, rounds=25, **stopping), "metrics", "custom-metrics"))
    values = np.array(printed(outcome, "validation-" + metric)) * (1 if maximize else -1)
    best = int(np.argmax(values))
    assert values[0] < values[best]
    assert len(values) in (best + 2, best + 3)
    assert booster(outcome).attr("best_iteration") == str(best)


# objectives


@pytest.mark.skipif(not KNOWS_QUANTILES, reason="xgboost 2.0 and later")
@pytest.mark.parametrize("alpha", ["0.8", "[0.1, 0.5, 0.9]", "0.1,0.5,0.9", "(0.1, 0.5, 0.9)"])
def test_quantiles(trainer, alpha):
    training_job = job(
        AMOUNTS, objective="reg:quantileerror", quantile_alpha=alpha, eval_metric="quantile", max_depth="3"
    )
    refused(trainer.run(training_job, "metrics"))
    outcome = done(trainer.run(training_job, "metrics", "objectives"))
    levels = [float(part.strip(" []()")) for part in alpha.split(",")]
    own, history = alone(AMOUNTS, {"objective": "reg:quantileerror", "quantile_alpha": levels, "max_depth": 3})
    assert printed(outcome, "validation-quantile") == pytest.approx(history["validation"]["quantile"], abs=1.1e-5)
    rows = matrix(AMOUNTS, HELD_OUT)
    predicted = booster(outcome).predict(rows)
    assert predicted.shape == ((80,) if len(levels) == 1 else (80, 3))
    np.testing.assert_allclose(predicted, own.predict(rows), rtol=1e-4, atol=1e-6)


KNOWN = {  # what the base refuses, of every version and of some
    "random_state": (AMOUNTS, {"objective": "reg:squarederror", "random_state": "7", "subsample": "0.5"}, (1, 2)),
    "feature_selector": (
        AMOUNTS,
        {"booster": "gblinear", "updater": "coord_descent", "feature_selector": "random"},
        (1, 2),
    ),
    "base_score": (AMOUNTS, {"objective": "reg:squarederror", "base_score": "-1.5"}, (1, 2)),
    "eta": (AMOUNTS, {"objective": "reg:squarederror", "learning_rate": "1.5"}, (1, 2)),
    "updater": (AMOUNTS, {"objective": "reg:squarederror", "updater": "grow_quantile_histmaker"}, (1, 2)),
    "max_cat_to_onehot": (AMOUNTS, {"objective": "reg:squarederror", "max_cat_to_onehot": "3"}, (1, 6)),
    "huber_slope": (AMOUNTS, {"objective": "reg:pseudohubererror", "huber_slope": "0.3"}, (1, 7)),
    "device": (AMOUNTS, {"objective": "reg:absoluteerror", "device": "cpu"}, (2, 0)),
    "multi_strategy": (CLASSES, dict(SOFTPROB, eval_metric="mlogloss", multi_strategy="multi_output_tree"), (2, 0)),
    "lambdarank": (CLASSES > 0, {"objective": "rank:ndcg", "lambdarank_pair_method": "topk"}, (2, 0)),
}


@pytest.mark.parametrize("name", KNOWN)
def test_hyperparameters_that_xgboost_knows_reach_it(trainer, name):
    label, hyperparameters, since = KNOWN[name]
    outcome = trainer.run(job(label, **hyperparameters), "objectives")
    if since > XGBOOST:
        refused(outcome)
        return
    own, _ = alone(label, hyperparameters)
    rows = matrix(label, HELD_OUT)
    np.testing.assert_allclose(booster(done(outcome)).predict(rows), own.predict(rows), rtol=1e-4, atol=1e-6)


CONSTRAINTS = {"monotone_constraints": "(-1, 0, 0, 1)", "interaction_constraints": "[[0, 1], [2, 3]]"}


def test_constraints_are_handed_on_as_xgboost_reads_them(trainer):
    hyperparameters = dict(CONSTRAINTS, objective="reg:squarederror", tree_method="hist", max_depth="3")
    outcome = done(trainer.run(job(AMOUNTS, **hyperparameters), "objectives"))
    own, _ = alone(AMOUNTS, hyperparameters)
    free, _ = alone(AMOUNTS, {"tree_method": "hist", "max_depth": "3"})
    rows = matrix(AMOUNTS, HELD_OUT)
    ours, alike, unlike = (each.predict(rows) for each in (booster(outcome), own, free))
    np.testing.assert_allclose(ours, alike, rtol=1e-4)
    assert np.abs(ours - unlike).max() > 0.1


@pytest.mark.parametrize(
    ("hyperparameters", "says"),
    [
        ({"foo": "1"}, "Extraneous hyperparameter found: foo"),
        ({"foo": "1", "random_state": "7"}, "Extraneous hyperparameter found: foo"),
        ({"objective": "reg:foo"}, "Unknown objective function: `reg:foo`"),
        ({"random_state": "x"}, "Invalid Parameter format for seed expect"),
        ({"eta": "-2"}, "should be greater equal to 0"),
        ({"early_stopping_rounds": "0"}, "early_stopping_rounds"),
        ({"num_round": "0"}, "num_round"),
    ],
    ids=["unknown", "one-unknown", "objective", "value", "range", "own-range", "rounds"],
)
def test_what_xgboost_refuses_too_is_the_users_error(trainer, hyperparameters, says):
    outcome = refused(
        trainer.run(job(AMOUNTS, **dict({"objective": "reg:squarederror"}, **hyperparameters)), "objectives"), says
    )
    assert "Stack trace" not in outcome.output.partition("UserError: ")[2]


def test_a_second_job_is_not_asked_about_the_first(monkeypatch):
    monkeypatch.setattr(hyperparameter_validation, "initialize", hyperparameter_validation.initialize)
    _validation.adapt(objectives._check)
    known = hyperparameter_validation.initialize(base_metrics.initialize())
    for name, value in (("num_parallel_tree", "-1"), ("save_model_on_termination", "maybe")):
        assert known.validate({"num_round": "1"})
        with pytest.raises(exceptions.UserError, match=name):
            known.validate({"num_round": "1", name: value})


@pytest.mark.skipif(not KNOWS_QUANTILES, reason="xgboost 2.0 and later")
def test_quantiles_that_cannot_be(trainer):
    hyperparameters = {"objective": "reg:quantileerror"}
    refused(trainer.run(job(AMOUNTS, **hyperparameters), "objectives"), "quantile_alpha")
    refused(
        trainer.run(job(AMOUNTS, quantile_alpha="1.5", **hyperparameters), "objectives"),
        "must be in the range [0.0, 1.0]",
    )
    folds = job(AMOUNTS, quantile_alpha="0.1,0.9", _kfold="3", **hyperparameters)
    refused(trainer.run(folds, "objectives"), "_kfold does not go with a model of 2 outputs")
    one = trainer.run(job(AMOUNTS, quantile_alpha="0.1", _kfold="2", **hyperparameters), "objectives")
    assert len(done(one).models) == 2


UNKNOWN = ("poisson", "rank-ndcg", "quantile", "quantiles", "two-targets")


@pytest.mark.parametrize("name", [name for name in UNKNOWN if name in zoo.SPECIMENS])
def test_selectable_inference_of_any_objective(server, monkeypatch, tmp_path, name):
    model = zoo.save(zoo.SPECIMENS[name], tmp_path, name)
    hyperparameters = {"SAGEMAKER_INFERENCE_OUTPUT": "predicted_score,probability"}
    x = zoo.inputs(zoo.SPECIMENS[name].missing, rows=4)
    assert server(model, **hyperparameters).post(zoo.csv(x)).status_code == 500
    binary = server("binary", **hyperparameters).post(zoo.csv(x)).data
    plain = json.loads(server(model).post(zoo.csv(x), accept="application/json").data)
    scores = [record["score"] for record in plain["predictions"]]
    for owner, hooked in ((serve_utils, "get_selected_predictions"), (hyperparameter_validation, "initialize")):
        monkeypatch.setattr(owner, hooked, getattr(owner, hooked))  # and so put back
    objectives.install_objectives()
    endpoint = server(model, **hyperparameters)
    answer = {kind: endpoint.post(zoo.csv(x), accept=kind).data for kind in ("text/csv", "application/json", RECORDIO)}
    records = json.loads(answer["application/json"].decode())["predictions"]
    assert [record["predicted_score"] for record in records] == scores
    assert [row[0] for row in csv.reader(io.StringIO(answer["text/csv"].decode()))] == [str(score) for score in scores]
    frame = next(_read_recordio(io.BytesIO(answer[RECORDIO])))
    first = Record()
    first.ParseFromString(frame)
    values = first.label["predicted_score"].float32_tensor.values
    assert list(values) == np.ravel(scores[0]).tolist()
    assert server("binary", **hyperparameters).post(zoo.csv(x)).data == binary


def bounded(rows):
    lifetimes = rows.get_label()
    rows.set_float_info("label_lower_bound", np.abs(lifetimes))
    rows.set_float_info("label_upper_bound", np.where(lifetimes < 0, np.inf, np.abs(lifetimes)))
    return rows


@pytest.mark.parametrize("folds", [{}, {"_kfold": "2"}], ids=["plain", "folds"])
def test_lifetimes_are_trained_on(trainer, folds):
    hyperparameters = {
        "objective": "survival:aft",
        "aft_loss_distribution": "logistic",
        "aft_loss_distribution_scale": "0.8",
    }
    assert trainer.run(job(LIFETIMES, **hyperparameters)).code == 1
    outcome = done(trainer.run(job(LIFETIMES, **dict(hyperparameters, **folds)), "objectives"))
    if not folds:
        own, history = alone(LIFETIMES, hyperparameters, prepare=bounded)
        assert printed(outcome, "validation-aft-nloglik") == pytest.approx(
            history["validation"]["aft-nloglik"], abs=1e-4
        )
        rows = matrix(LIFETIMES, HELD_OUT)
        np.testing.assert_allclose(booster(outcome).predict(rows), own.predict(rows), rtol=1e-4)


# early-stopping


STOPPED = {
    "gblinear": {"booster": "gblinear", "updater": "coord_descent", "eta": "1", "lambda": "0"},
    "dart": {"booster": "dart", "rate_drop": "0.5", "one_drop": "1", "eta": "1", "max_depth": "6"},
}


def unlike(label):
    """Labels of which the last third contradicts the others: what is learned longer fits it worse."""
    return np.concatenate([label[TRAINED], label[HELD_OUT][::-1]])


def early(booster, **more):
    hyperparameters = {"objective": "reg:squarederror", "eval_metric": "rmse", "early_stopping_rounds": "3"}
    return job(unlike(AMOUNTS), rounds=20, **dict(hyperparameters, **STOPPED[booster], **more))


@pytest.mark.parametrize("name", STOPPED)
def test_the_model_of_the_best_round_is_saved(trainer, name):
    label = unlike(AMOUNTS)
    base = trainer.run(early(name))
    assert base.code == int(name == "gblinear" and not OLD)
    outcome = done(trainer.run(early(name), "early-stopping"))
    values = printed(outcome, "validation-rmse")
    assert len(values) < 20
    assert min(values) < values[-1]
    model, form = serve_utils.get_loaded_booster(str(outcome.folder / "model"))
    served = serve_utils.predict(model, form, matrix(label, HELD_OUT), "text/csv")
    assert np.sqrt(np.mean((served - label[HELD_OUT]) ** 2)) == pytest.approx(min(values), abs=2e-5)
    assert model.attr("best_iteration") == str(int(np.argmin(values)))


@pytest.mark.skipif(XGBOOST < (2, 0), reason="xgboost 2.0 and later have vector leaves")
def test_trees_with_vector_leaves_stop_early(trainer):
    vectors = dict(SOFTPROB, eval_metric="mlogloss", multi_strategy="multi_output_tree", early_stopping_rounds="2")
    outcome = done(trainer.run(job(unlike(CLASSES), rounds=20, eta="1", **vectors), "objectives", "early-stopping"))
    values = printed(outcome, "validation-mlogloss")
    predicted = booster(outcome).predict(matrix(unlike(CLASSES), HELD_OUT))
    chosen = predicted[np.arange(80), unlike(CLASSES)[HELD_OUT].astype(int)]
    assert -np.log(chosen).mean() == pytest.approx(min(values), abs=1e-4)


def test_folds_without_an_objective(trainer):
    folds = dict(STOPPED["gblinear"], _kfold="2", early_stopping_rounds="3")
    training_job = job(unlike(AMOUNTS), rounds=20, **folds)
    assert trainer.run(training_job).code == 1
    assert len(done(trainer.run(training_job, "early-stopping")).models) == 2
    training_job.hyperparameters["eval_metric"] = "rmse"
    every = ("kfold-eval", "kfold-checkpoint", "checkpoint-resume", "metrics", "objectives", "early-stopping")
    assert len(done(trainer.run(training_job, *every)).models) == 2


@pytest.mark.parametrize("fixes", [("early-stopping", "checkpoint-resume"), ("checkpoint-resume", "early-stopping")])
def test_a_linear_job_that_stops_early_begins_again(trainer, fixes):
    training_job = early("gblinear")
    training_job = Job(training_job.hyperparameters, training_job.channels, checkpoints=True)
    folder = trainer.new(training_job)
    assert trainer.start(folder, *fixes, interrupt=2).code == -9
    outcome = done(trainer.start(folder, *fixes))
    assert outcome.rounds[0][0] == 0
    assert outcome.output.count("No checkpoints: early stopping of gblinear") == 1


@pytest.mark.skipif(OLD, reason="1.2 stops early by what it prints last")
def test_early_stopping_that_does_nothing_is_said(trainer):
    training_job = job(AMOUNTS, validation=False, objective="reg:squarederror", early_stopping_rounds="3")
    outcome = done(trainer.run(training_job, "early-stopping"))
    assert "the job has to have a validation channel and eval_metric too" in outcome.output


def test_a_job_that_needs_none_of_them_is_the_same(trainer):
    hyperparameters = {
        "objective": "reg:squarederror",
        "eval_metric": "rmse,mae",
        "early_stopping_rounds": "3",
        "eta": "1",
    }
    plain = job(unlike(AMOUNTS), rounds=20, **hyperparameters)
    base, fixed = trainer.run(plain), trainer.run(plain, "metrics", "objectives", "early-stopping")
    common = min(len(done(fixed).rounds), len(done(base).rounds))
    assert fixed.rounds[:common] == base.rounds[:common]
    assert max(len(fixed.rounds), len(base.rounds)) - common <= 1  # the line of the last round is printed by chance
    assert fixed.models[0].read_bytes() == base.models[0].read_bytes()
