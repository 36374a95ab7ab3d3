"""What the base accepts before it trains: hyperparameters, channels and files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.standin.base_process import BaseProcess

PROBE = "/tests/support/standin/probe_training.py"  # in the container
PLAIN = {"num_round": "4"}
CHANNEL = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}

ACCEPTED: dict[str, dict[str, str]] = {
    "bounds": {"eta": "1", "gamma": "0", "subsample": "1", "max_depth": "0", "verbosity": "3", "base_score": "0"},
    "aliases": {"learning_rate": "0.2", "min_split_loss": "1", "reg_lambda": "1", "reg_alpha": "1"},
    "thresholds": {"objective": "binary:logistic", "eval_metric": "error@0.7,ndcg@3,map@2"},
    "auc-binary": {"objective": "binary:logistic", "eval_metric": "auc"},
    "auc-rank": {"objective": "rank:pairwise", "eval_metric": "auc"},
    "classes": {"objective": "multi:softmax", "num_class": "3"},
    "monotone": {"tree_method": "hist", "monotone_constraints": "(1,0,-1)"},
    "interaction": {"tree_method": "approx", "interaction_constraints": "[[1,2],[3]]"},
    "old-tree-method": {"tree_method": "gpu_hist", "predictor": "gpu_predictor", "deterministic_histogram": "true"},
    "folds": {"_kfold": "3", "_num_cv_round": "2"},
    "tuned": {"_tuning_objective_metric": "validation:accuracy"},
}

REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "eta": ({"eta": "1.1"}, "UserError"),
    "text": ({"eta": "fast"}, "UserError"),
    "fraction": ({"max_depth": "2.5"}, "UserError"),
    "open-bound": ({"subsample": "0"}, "UserError"),
    "sketch": ({"sketch_eps": "1"}, "UserError"),
    "scale": ({"scale_pos_weight": "0"}, "UserError"),
    "variance": ({"tweedie_variance_power": "2"}, "UserError"),
    "one-class": ({"num_class": "1"}, "UserError"),
    "loud": ({"verbosity": "4"}, "UserError"),
    "objective": ({"objective": "reg:nothing"}, "UserError"),
    "metric": ({"objective": "reg:squarederror", "eval_metric": "nothing"}, "UserError"),
    "threshold": ({"objective": "binary:logistic", "eval_metric": "error@half"}, "UserError"),
    "auc-regression": ({"objective": "reg:squarederror", "eval_metric": "auc"}, "UserError"),
    "no-classes": ({"objective": "multi:softmax"}, "UserError"),
    "monotone": ({"tree_method": "approx", "monotone_constraints": "(1,0)"}, "UserError"),
    "updater-range": ({"updater": "grow_quantile_histmaker"}, "UserError"),
    "one-fold": ({"_kfold": "1"}, "UserError"),
    "tuned": ({"_tuning_objective_metric": "rmse"}, "UserError"),
    "silent": ({"silent": "1"}, "UserError: Extraneous hyperparameter found: silent"),
    "nfold": ({"_nfold": "3"}, "UserError: Extraneous hyperparameter found: _nfold"),
    "sagemaker": ({"sagemaker_region": "x"}, "UserError: Extraneous hyperparameter found: sagemaker_region"),
    "metric-alone": ({"eval_metric": "rmse"}, "KeyError: 'objective'"),
}

BY_VERSION: dict[str, tuple[dict[str, str], tuple[int, int], tuple[int, int]]] = {
    "absolute-error": ({"objective": "reg:absoluteerror"}, (1, 7), (99, 0)),
    "single-precision": ({"single_precision_histogram": "true"}, (0, 0), (1, 7)),
    "local-histmaker": ({"updater": "grow_local_histmaker"}, (0, 0), (1, 7)),
    "sampling": ({"sampling_method": "uniform"}, (1, 3), (99, 0)),
    "balanced": ({"_tuning_objective_metric": "validation:balanced_accuracy"}, (1, 3), (99, 0)),
    "dask": ({"use_dask_gpu_training": "false"}, (1, 5), (99, 0)),
}


@pytest.fixture
def ask(process: BaseProcess, work: Path) -> Callable[..., Any]:
    """ask(question): the answer of `probe_training.py`, run with the base's own Python, `work` being its /opt/ml."""

    def answer(question: dict[str, Any]) -> Any:
        completed = process.run(PROBE, json.dumps(question), ml=work)
        assert completed.exit_code == 0, completed.stderr
        return json.loads(completed.stdout.splitlines()[-1])

    return answer


def test_hyperparameters_are_accepted_and_refused_as_documented(ask, version):
    pair = tuple(int(part) for part in version.replace("-", ".").split(".")[:2])
    jobs = {f"accepted {name}": PLAIN | hyperparameters for name, hyperparameters in ACCEPTED.items()}
    jobs |= {f"refused {name}": PLAIN | hyperparameters for name, (hyperparameters, _) in REFUSED.items()}
    jobs |= {f"version {name}": PLAIN | hyperparameters for name, (hyperparameters, _, _) in BY_VERSION.items()}
    jobs["refused no-rounds"] = {"eta": "0.1"}
    verdicts = dict(zip(jobs, ask({"hyperparameters": list(jobs.values())}), strict=True))

    wrong = {name: verdicts[f"accepted {name}"] for name in ACCEPTED if isinstance(verdicts[f"accepted {name}"], str)}
    wrong |= {
        name: verdicts[f"refused {name}"]
        for name, (_, error) in REFUSED.items()
        if not str(verdicts[f"refused {name}"]).startswith(error)
    }
    wrong |= {
        name: verdicts[f"version {name}"]
        for name, (_, first, end) in BY_VERSION.items()
        if isinstance(verdicts[f"version {name}"], dict) != (first <= pair < end)
    }
    assert wrong == {}
    assert verdicts["refused no-rounds"].startswith("UserError")


def test_hyperparameters_are_typed_under_their_own_names(ask):
    hyperparameters = {
        "learning_rate": "0.2",
        "eval_metric": "rmse,mae",
        "objective": "reg:squarederror",
        "tree_method": "hist",
    }
    (typed,) = ask({"hyperparameters": [PLAIN | hyperparameters | {"interaction_constraints": "[[1,2],[3]]"}]})
    assert typed["num_round"] == 4
    assert typed["eta"] == 0.2
    assert "learning_rate" not in typed
    assert typed["eval_metric"] == ["rmse", "mae"]
    assert typed["interaction_constraints"] == [[1, 2], [3]]


CHANNELS: dict[str, tuple[dict[str, Any], str]] = {
    "default-type": ({"train": CHANNEL}, ""),
    "validation": ({"train": CHANNEL, "validation": CHANNEL | {"ContentType": "text/csv"}}, ""),
    "recordio": ({"train": CHANNEL | {"ContentType": "application/x-recordio-protobuf"}}, ""),
    "sharded": ({"train": CHANNEL | {"S3DistributionType": "ShardedByS3Key"}}, ""),
    "pipe": ({"train": CHANNEL | {"ContentType": "text/csv", "TrainingInputMode": "Pipe"}}, ""),
    "code": ({"train": CHANNEL, "code": CHANNEL | {"ContentType": "text/python"}}, ""),
    "pipe-libsvm": ({"train": CHANNEL | {"TrainingInputMode": "Pipe"}}, "UserError"),
    "html": ({"train": CHANNEL | {"ContentType": "text/html"}}, "UserError"),
    "extra": ({"train": CHANNEL, "test": CHANNEL}, "UserError: Extraneous channel found"),
    "no-train": ({"validation": CHANNEL}, "UserError"),
}


def test_channels_are_accepted_and_refused_as_documented(ask):
    verdicts = dict(zip(CHANNELS, ask({"channels": [channels for channels, _ in CHANNELS.values()]}), strict=True))
    wrong = {
        name: verdict
        for name, verdict in verdicts.items()
        if (CHANNELS[name][1] == "") == isinstance(verdict, str) and not str(verdict).startswith(CHANNELS[name][1])
    }
    refused = {name for name, verdict in verdicts.items() if isinstance(verdict, str)}
    assert wrong == {}
    assert refused == {name for name, (_, error) in CHANNELS.items() if error}


FILES = {
    "csv/rows.csv": "1,5,6\n0,7,8\n",
    "weighted/rows.csv": "1,2,5,6\n0,3,7,8\n",
    "header/rows.csv": "label,a,b\n1,5,6\n0,7,8\n",
    "libsvm/rows": "1 0:5 1:6\n0 0:7 2:8\n",
    "deep/top": "1 0:5\n0 0:7\n",
    "deep/one/two/rows": "1 0:5\n1 0:7\n1 0:9\n",
    "hidden/.rows": "1 0:5\n",
    "text/rows": "no rows at all\n",
    "pipe_0": "1,5,6\n",
}


def test_files_are_read_as_documented(ask, work, version):
    for name, text in FILES.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text)
    questions = {
        "csv": {"path": "/opt/ml/csv", "type": "csv"},
        "weighted": {"path": "/opt/ml/weighted", "type": "csv", "weights": 1},
        "header": {"path": "/opt/ml/header", "type": "csv"},
        "libsvm": {"path": "/opt/ml/libsvm", "type": "libsvm"},
        "deep": {"path": "/opt/ml/deep", "type": "libsvm"},
        "hidden": {"path": "/opt/ml/hidden", "type": "libsvm"},
        "text": {"path": "/opt/ml/text", "type": "libsvm"},
        "pipe": {"path": "/opt/ml/pipe", "type": "csv", "pipe": True},
    }
    answers = dict(zip(questions, ask({"data": list(questions.values())}), strict=True))
    assert answers["csv"] == {"shape": [2, 2], "labels": [1, 0], "weights": []}
    assert answers["weighted"] == {"shape": [2, 2], "labels": [1, 0], "weights": [2, 3]}
    assert answers["header"]["shape"] == [3, 2]  # the header is taken for a row
    assert answers["libsvm"] == {"shape": [2, 3], "labels": [1, 0], "weights": []}
    links_all = version.split("-")[0] not in ("1.2", "1.3", "1.5")
    assert sorted(answers["deep"]["labels"]) == ([0, 1, 1, 1, 1] if links_all else [1, 1, 1])
    assert answers["hidden"].startswith("UserError")
    assert answers["text"].startswith("UserError")
    if version.startswith("3.2"):
        assert answers["pipe"].startswith("UserError")
