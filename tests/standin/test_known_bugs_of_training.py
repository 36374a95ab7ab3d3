"""Known bugs of training: see support/standin/known_bugs.py."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xgboost as xgb
from sagemaker_algorithm_toolkit import exceptions as exc
from sagemaker_xgboost_container.algorithm_mode import (
    hyperparameter_validation,
    metrics,
    serve_utils,
    train,
)

from support.standin.known_bugs import CLASSES, ROWS, VERSION, libsvm, shows


@pytest.fixture
def job(tmp_path, monkeypatch):
    """job(**hyperparameters): trains in this process on both channels, as `train` does; returns what xgboost was given.

    Each call of `xgboost.train` leaves `rows`, the names and row counts of the sets it was evaluated on, and `results`.
    """
    calls, real = [], xgb.train

    def spy(params, dtrain, *arguments, **named):
        results = named.setdefault("evals_result", {})
        results = named["evals_result"] = {} if results is None else results
        calls.append(SimpleNamespace(rows={name: matrix.num_row() for matrix, name in named["evals"]}, results=results))
        return real(params, dtrain, *arguments, **named)

    monkeypatch.setattr(xgb, "train", spy)
    monkeypatch.setenv("SM_OUTPUT_DATA_DIR", str(tmp_path / "output"))
    return lambda **hyperparameters: run(tmp_path, calls, hyperparameters)


CHANNEL = {"ContentType": "text/libsvm", "TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}
HELD_OUT = 30


def run(folder, calls, hyperparameters):
    for name, part in {"train": slice(HELD_OUT, None), "validation": slice(HELD_OUT)}.items():
        (folder / name).mkdir(exist_ok=True)
        (folder / name / f"{name}.libsvm").write_text(libsvm(CLASSES[part] > 0, ROWS[part], 0))
    calls.clear()
    validated = hyperparameters.pop("validated", True)
    checkpoints = {"LocalPath": str(folder / "checkpoints")} if hyperparameters.pop("checkpoints", False) else {}
    paths = [str(folder / name) for name in ("train", "validation", "model")]
    channels = {"train": dict(CHANNEL), "validation": dict(CHANNEL)}
    if not validated:
        channels.pop("validation")
        paths[1] = None
    train.sagemaker_train(hyperparameters, channels, *paths, ["algo-1"], "algo-1", checkpoints)
    return list(calls)


def trees(folder):
    """The trees of the model that the last job wrote."""
    booster, _ = serve_utils.get_loaded_booster(str(folder / "model"))
    return booster.get_dump()


def test_eval_metric_without_objective():
    declared = hyperparameter_validation.initialize(metrics.initialize())
    if shows("eval-metric-without-objective"):
        with pytest.raises(KeyError, match="objective"):
            declared.validate({"num_round": "1", "eval_metric": "rmse"})
    else:
        assert declared.validate({"num_round": "1", "eval_metric": "rmse"})["eval_metric"] == ["rmse"]


@pytest.mark.parametrize(
    "named",
    [{"num_round": '"1"'}, {"num_round": "1", "eval_metric": "['rmse', 'mae']", "objective": "reg:squarederror"}],
)
def test_hyperparameter_encoding(named):
    declared = hyperparameter_validation.initialize(metrics.initialize())
    if shows("hyperparameter-encoding"):
        with pytest.raises(exc.UserError):
            declared.validate(named)
    else:
        assert declared.validate(named)["num_round"] == 1


@pytest.mark.parametrize(
    ("bug", "named"),
    [
        ("metrics", {"objective": "reg:logistic", "eval_metric": "auc"}),
        ("metrics", {"objective": "rank:ndcg", "eval_metric": "ndcg@5-"}),
        ("metrics", {"objective": "binary:logistic", "_tuning_objective_metric": "validation:error@0.7"}),
        ("objectives", {"random_state": "7"}),
        ("objectives", {"base_score": "-1"}),
        ("objectives", {"tree_method": "hist", "interaction_constraints": "[[0, 1]]"}),
    ],
)
def test_what_xgboost_knows_is_refused(bug, named):
    declared = hyperparameter_validation.initialize(metrics.initialize())
    named = dict(named, num_round="1")
    if shows(bug):
        with pytest.raises(exc.UserError):
            declared.validate(named)
    else:
        assert declared.validate(named)["num_round"] == 1


def test_early_stopping_of_a_linear_model(tmp_path, job):
    """It is lost when the best round is cut out: at the end of the training, or in 1.2-2 when it is served."""
    named = {"objective": "reg:squarederror", "booster": "gblinear", "eval_metric": "rmse"}
    hyperparameters = dict(named, num_round="2", early_stopping_rounds="1")
    if shows("early-stopping") and VERSION != "1.2-2":
        with pytest.raises(exc.AlgorithmError, match="save_best"):
            job(**hyperparameters)
        return
    job(**hyperparameters)
    booster, form = serve_utils.get_loaded_booster(str(tmp_path / "model"))
    if shows("early-stopping"):
        with pytest.raises(xgb.core.XGBoostError, match="ntrees is only valid for gbtree"):
            serve_utils.predict(booster, form, xgb.DMatrix(ROWS), "text/libsvm")
    else:
        assert len(serve_utils.predict(booster, form, xgb.DMatrix(ROWS), "text/libsvm")) == len(ROWS)


def test_custom_metrics(job):
    named = {"num_round": "5", "objective": "binary:logistic", "eval_metric": "error,accuracy,f1_binary"}
    (call,) = job(**named)
    accuracy, error = (call.results["validation"][name][-1] for name in ("accuracy", "error"))
    share = float(np.mean(CLASSES[:HELD_OUT] > 0))  # of class 1
    assert abs(share - (1 - error)) > 0.01
    assert accuracy == pytest.approx(share if shows("custom-metrics") else 1 - error, abs=1e-5)


def test_kfold_eval(job):
    calls = job(num_round="2", objective="reg:squarederror", _kfold="2")
    whole = {"train": len(ROWS) - HELD_OUT, "validation": HELD_OUT}
    fold = {"train": len(ROWS) // 2, "validation": len(ROWS) // 2}
    assert [call.rows for call in calls] == [whole if shows("kfold-eval") else fold] * 2


@pytest.mark.parametrize("stopping", [{}, {"early_stopping_rounds": "1", "eval_metric": "rmse"}], ids=["", "stopping"])
def test_folds_without_validation_channel(job, stopping):
    """No bug, but a difference: 1.2-2 and 1.3-1 report what a fold holds out; only 1.2-2 stops early on it."""
    calls = job(num_round="30", objective="reg:squarederror", eta="1", validated=False, _kfold="2", **stopping)
    reported = {"1.2-2": ["train", "validation"], "1.3-1": ["train", "validation"]}.get(VERSION, ["train"])
    assert [list(call.rows) for call in calls] == [reported] * 2
    rounds = [len(call.results["train"]["rmse"]) for call in calls]
    assert all(number < 30 for number in rounds) == bool(stopping and VERSION == "1.2-2")


def test_kfold_without_objective(job):
    if shows("kfold-without-objective"):
        with pytest.raises(exc.AlgorithmError, match="startswith"):
            job(num_round="2", _kfold="2")
    else:
        assert len(job(num_round="2", _kfold="2")) == 2


def test_kfold_checkpoint(job):
    """A fold's folder of checkpoints is not made."""
    named = {"num_round": "2", "objective": "reg:squarederror", "_kfold": "2", "checkpoints": True}
    if shows("kfold-checkpoint"):
        with pytest.raises(exc.AlgorithmError, match="model-0"):
            job(**named)
    else:
        assert len(job(**named)) == 2


def test_model_kept_for_termination_is_of_the_versions_format(job, tmp_path):
    """SIGTERM leaves what the last round wrote: seen here before the job overwrites it."""
    beginnings = []
    real = os.rename

    def spy(source, target):
        real(source, target)
        beginnings.append(Path(target).read_bytes()[:2])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "rename", spy)
        job(num_round="2", objective="reg:squarederror", save_model_on_termination="true")
    expected = {"1.2-2": b"\x80\x04", "3.0-5": b"{L", "3.2-0": b"{L"}.get(VERSION, b"bi")
    assert beginnings == [expected] * 2


def test_checkpoint_resume(job, tmp_path):
    first = {"num_round": "3", "objective": "reg:squarederror", "checkpoints": True}
    (tmp_path / "checkpoints").mkdir()
    job(**first)
    begun = trees(tmp_path)
    job(**dict(first, num_round="5", eta="0.9"))
    assert len(trees(tmp_path)) == 5
    assert (trees(tmp_path)[:3] != begun) == shows("checkpoint-resume")
