"""The feature `training`: real jobs of the base with and without it, and what stands beside the model afterwards."""

import csv
import dataclasses
import functools
import json
import os
import re
import shutil

import numpy as np
import pytest
import xgboost
from sagemaker_xgboost_container.algorithm_mode import serve_utils
from xgbpatch_overlays.model import folder
from xgbpatch_overlays.training import artifacts, files

from support.overlays import forks, training_jobs
from support.overlays.training_files import FEATURES, FILES, XGBOOST, beside, table
from support.overlays.training_jobs import Job, Trainer, lay_out

BASE = "repository/sagemaker-xgboost:1.5-1@sha256:" + "ab" * 32


def job(objective="reg:squarederror", validation=True, **hyperparameters):
    classes = {"binary": 2, "multi:": 3}.get(objective[:6], 0)
    rows = table(classes)
    channels = {"train": rows[:160], "validation": rows[160:]} if validation else {"train": rows}
    known = {"objective": objective, "num_round": "6", "max_depth": "3", "seed": "3"}
    known.update({"num_class": "3"} if classes == 3 else {})
    return Job(dict(known, **hyperparameters), channels)


@pytest.fixture(scope="session")
def trainers(tmp_path_factory):
    """(without the feature, with it)"""
    before = dict(os.environ)
    with Trainer(tmp_path_factory.mktemp("base")) as base:
        os.environ.update(XGBPATCH_FEATURES="training", XGBPATCH_BASE=BASE, XGBPATCH_RELEASE="0.3.0")
        os.environ["PYTHONPATH"] += ":" + os.path.dirname(training_jobs.__file__)
        with Trainer(tmp_path_factory.mktemp("ours")) as ours:
            os.environ.clear()
            os.environ.update(before)
            yield base, ours


@pytest.fixture(scope="module")
def trainer(trainers):
    return trainers[1]


def written(outcome, name):
    return json.loads(beside(outcome.folder / "model")[name].decode())


def served(outcome):
    """(booster, options of prediction) of the one model, as the base serves it."""
    model, form = serve_utils.get_loaded_booster(str(outcome.folder / "model"))
    return artifacts._explained(model, form)


CASES = {
    "regression": job(save_model_on_termination="true"),
    "train-only": job("multi:softmax", validation=False),
    "dart": job("binary:logistic", booster="dart", rate_drop="0.5", eval_metric="logloss,auc"),
    "gblinear": job(booster="gblinear", updater="coord_descent"),
    "forest": job("multi:softprob", num_parallel_tree="2", subsample="0.7"),
    "early-stopping": job(early_stopping_rounds="2", eval_metric="rmse", eta="1", num_round="60"),
}


@pytest.fixture(scope="module")
def outcomes(trainers):
    """outcomes(name): of that case (without the feature, with it), run once."""
    return functools.lru_cache(None)(lambda name: tuple(trainer.run(CASES[name]) for trainer in trainers))


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_model_and_the_log_are_the_bases_and_the_files_stand_beside_it(outcomes, name):
    plain, ours = outcomes(name)
    assert plain.code == ours.code == 0, ours.output
    assert [path.read_bytes() for path in ours.models] == [path.read_bytes() for path in plain.models]
    assert [path.name for path in ours.models] == [path.name for path in plain.models]
    common = min(len(ours.rounds), len(plain.rounds))
    assert ours.rounds[:common] == plain.rounds[:common] != []
    # xgboost 1.x keeps callbacks in a set: whether the round that stops early is printed depends on addresses
    assert abs(len(ours.rounds) - len(plain.rounds)) <= (name == "early-stopping")
    assert [path.name for path in (plain.folder / "model").iterdir()] == [path.name for path in plain.models]
    assert set(beside(ours.folder / "model")) == FILES, ours.output
    assert "Traceback" not in ours.output


@pytest.mark.parametrize("name", sorted(CASES))
def test_importance_is_the_mean_of_native_contributions_with_the_bases_tree_cut(outcomes, name):
    outcome = outcomes(name)[1]
    member, split = served(outcome), "train" if name == "train-only" else "validation"
    rows = CASES[name].channels[split][:, 1:]
    values = member.booster.predict(xgboost.DMatrix(rows), pred_contribs=True, **member.options)
    mean = np.abs(values.reshape(len(rows), -1, FEATURES + 1)[:, :, :-1]).mean(axis=0, dtype=np.float64)
    about = written(outcome, "importance.json")
    by_name = {row["name"]: row for row in about["features"]}
    for number in range(FEATURES):
        row = by_name[f"f{number}"]
        assert row["importance"] == pytest.approx(mean[:, number].sum(), rel=1e-4, abs=1e-6)
        assert row.get("classes", [row["importance"]]) == pytest.approx(list(mean[:, number]), rel=1e-4, abs=1e-6)
    assert [row["importance"] for row in about["features"]] == sorted(r["importance"] for r in about["features"])[::-1]
    assert (about["split"], about["rows"], about["rows_of_split"], about["models"]) == (split, len(rows), len(rows), 1)
    assert about["features"][0]["name"] == "f0"
    cut = {key: value for key, value in member.options.items() if key != "validate_features" and np.any(value)}
    assert [{key: np.ravel(value).tolist() for key, value in cuts.items()} for cuts in about["tree_cuts"]] == [
        {key: np.ravel(value).tolist() for key, value in cut.items()}
    ]


# Names that stand in the data


def test_a_csv_header_names_the_features_and_is_told_to_be_a_row(trainers):
    base, ours = trainers
    training_job = dataclasses.replace(job(validation=False), header='rings,"length, mm",height,weight,age')
    plain, named = base.run(training_job), ours.run(training_job)
    assert written(named, "feature_names.json") == ["length, mm", "height", "weight", "age"]
    assert 'The first line of "rows.csv" holds names and no numbers' in named.output
    assert named.models[0].read_bytes() == plain.models[0].read_bytes()
    explicit = ours.run(
        dataclasses.replace(
            training_job, hyperparameters=dict(training_job.hyperparameters, xgbpatch_feature_names="a,b,c,d")
        )
    )
    assert written(explicit, "feature_names.json") == ["a", "b", "c", "d"]


# Constraints from a file


def constrained(path, document, **hyperparameters):
    path.write_text(json.dumps(document))
    known = dict({"tree_method": "hist", "xgbpatch_constraints": str(path)}, **hyperparameters)
    return job(validation=False, xgbpatch_importance_rows="0", **known)


def features_of_trees(outcome):
    """The features that each tree splits on."""
    return [set(map(int, re.findall(r"\[f(\d)<", tree))) for tree in served(outcome).booster.get_dump()]


def test_constraints_of_a_file_hold_where_they_are_told_by_number_and_by_name(trainer, tmp_path):
    """Without them the first two features, of weight 3 and 1, meet in a tree."""
    assert any({0, 1} <= features for features in features_of_trees(trainer.run(job(validation=False))))
    alone = {"interaction_constraints": [[0], [1, 2], [3]]}
    outcome = trainer.run(constrained(tmp_path / "c.json", alone))
    assert not [features for features in features_of_trees(outcome) if 0 in features and len(features) > 1], (
        outcome.output
    )
    never = {"monotone_constraints": {"a": -1}, "interaction_constraints": [["a"], ["b", "c", "d"]]}
    outcome = trainer.run(constrained(tmp_path / "c.json", never, xgbpatch_feature_names="a,b,c,d"))
    assert 0 not in set().union(*features_of_trees(outcome)), outcome.output
    long = {"monotone_constraints": [-1, 1, 0, 0]}
    outcome = trainer.run(constrained(tmp_path / "c.json", long))
    assert 0 not in set().union(*features_of_trees(outcome)), outcome.output


def test_constraints_that_do_not_fit_the_job_are_refused(trainer, tmp_path):
    both = constrained(tmp_path / "c.json", {"monotone_constraints": [1, 0, 0, 0]}, monotone_constraints="(1,0,0,0)")
    assert '"monotone_constraints" stands in xgbpatch_constraints too' in trainer.run(both).output
    method = constrained(tmp_path / "c.json", {"monotone_constraints": [1, 0, 0, 0]}, tree_method="auto")
    assert "needs the hyperparameter tree_method, one of: exact, hist" in trainer.run(method).output
    wrong = constrained(tmp_path / "c.json", {"monotone": [1]})
    assert "it is not a JSON object of monotone_constraints and interaction_constraints" in trainer.run(wrong).output


def test_the_csv_has_the_numbers_of_the_json(outcomes):
    outcome = outcomes("forest")[1]
    rows = list(csv.reader(beside(outcome.folder / "model")["importance.csv"].decode().splitlines()))
    assert rows[0] == ["feature", "importance", "class_0", "class_1", "class_2"]
    expected = [
        [row["name"], row["importance"], *row["classes"]] for row in written(outcome, "importance.json")["features"]
    ]
    assert [[row[0], *map(float, row[1:])] for row in rows[1:]] == expected


def test_a_script_that_removes_every_entry_of_the_model_folder_succeeds(outcomes, tmp_path):
    """As AWS's container test of checkpoints does. 1.2 keeps the folder: its base loads every file that it sees."""
    model = tmp_path / "model"
    shutil.copytree(str(outcomes("regression")[1].folder / "model"), str(model))
    if XGBOOST >= (1, 3):
        assert not [path for path in model.iterdir() if path.is_dir()]
        for name in os.listdir(str(model)):
            os.remove(str(model / name))
    else:
        assert [path.name for path in model.iterdir() if path.is_dir()] == ["xgbpatch"]
    assert files.passes_over_hidden_files() == (XGBOOST >= (1, 3))


@pytest.mark.parametrize("ensemble", [False, True])
def test_the_base_serves_the_model_alone_whatever_stands_beside_it(outcomes, ensemble):
    """Single-model and multi-model endpoints load with the one function, as an ensemble unless that is switched off."""
    plain, ours = outcomes("regression")
    boosters = [serve_utils.get_loaded_booster(str(outcome.folder / "model"), ensemble) for outcome in (plain, ours)]
    assert boosters[0][1] == boosters[1][1]
    rows = xgboost.DMatrix(CASES["regression"].channels["validation"][:, 1:])
    assert boosters[0][0].predict(rows).tobytes() == boosters[1][0].predict(rows).tobytes()


def test_the_record_names_what_the_model_was_trained_with(outcomes):
    outcome = outcomes("forest")[1]
    assert written(outcome, "record.json") == {
        "xgboost": xgboost.__version__,
        "xgbpatch": "0.3.0",
        "base": BASE,
        "objective": "multi:softprob",
        "features": FEATURES,
        "models": 1,
        "rounds": [6],
    }


def test_the_background_is_rows_of_the_train_channel(outcomes):
    outcome = outcomes("regression")[1]
    background = folder.background(str(outcome.folder / "model"))
    train = {tuple(row) for row in CASES["regression"].channels["train"][:, 1:].astype(np.float32).tolist()}
    assert background.shape == (100, FEATURES)
    assert len({tuple(row) for row in background.tolist()}) == 100
    assert {tuple(row) for row in background.tolist()} <= train


def test_what_is_asked_for_by_hyperparameter(trainer, tmp_path):
    names = tmp_path / "names.json"
    names.write_text(json.dumps(["Länge", "a,b", "c", "d"]))
    hyperparameters = {
        "xgbpatch_feature_names": str(names),
        "xgbpatch_importance_rows": "30",
        "xgbpatch_background_rows": "0",
    }
    outcome = trainer.run(job(**hyperparameters))
    assert outcome.code == 0, outcome.output
    assert written(outcome, "feature_names.json") == ["Länge", "a,b", "c", "d"]
    assert written(outcome, "importance.json")["rows"] == 30
    assert written(outcome, "importance.json")["rows_of_split"] == 80
    assert written(outcome, "importance.json")["features"][0]["name"] == "Länge"
    assert "background.npy" not in beside(outcome.folder / "model")
    assert (
        json.loads((outcome.folder / "input/config/hyperparameters.json").read_text())
        == job(**hyperparameters).hyperparameters
    )


def test_no_importance_where_none_is_asked_for(trainer):
    outcome = trainer.run(job(xgbpatch_importance_rows="0", xgbpatch_feature_names="a, b,c ,d"))
    assert set(beside(outcome.folder / "model")) == {
        "record.json",
        "feature_names.json",
        "background.npy",
    }
    assert written(outcome, "feature_names.json") == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("hyperparameters", "message"),
    [
        ({"xgbpatch_feature_name": "a"}, 'did you mean "xgbpatch_feature_names"?'),
        ({"xgbpatch_feature_names": "a,b"}, "xgbpatch_feature_names has 2 names, the train channel 4 columns"),
        ({"xgbpatch_feature_names": "a,b,a,c"}, 'names "a" more than once'),
        ({"xgbpatch_feature_names": "/nowhere.json"}, "is not a file with a JSON list"),
        ({"xgbpatch_background_rows": "9" * 5000}, "is not a whole number from 0 to 1000"),
        ({"xgbpatch_background_rows": "\u00b2"}, "is not a whole number from 0 to 1000"),
        ({"xgbpatch_background_rows": "-1"}, 'xgbpatch_background_rows="-1" is not a whole number from 0 to 1000'),
        ({"xgbpatch_importance_rows": "many"}, 'xgbpatch_importance_rows="many" is not a whole number'),
        ({"xgbpatch_metrics": "spread"}, '"spread" is not a dotted path'),
        ({"xgbpatch_metrics": "no_such_module.f"}, '"no_such_module.f" is no function(y_true, y_pred) of this image'),
        ({"xgbpatch_metrics": "training_metrics_of_user.one"}, "too many positional arguments"),
        ({"xgbpatch_metrics": "training_metrics_of_user.rmse"}, "has the name of a metric of the base"),
        ({"xgbpatch_metrics": "training_metrics_of_user.spread:up"}, 'ends in "up", which is not minimize or maximize'),
        ({"max_deth": "3"}, "max_deth"),
    ],
    ids=lambda value: next(iter(value.items()))[1][:30] if isinstance(value, dict) else "",
)
def test_a_bad_hyperparameter_ends_the_job_before_it_trains(trainer, hyperparameters, message):
    outcome = trainer.run(job(**hyperparameters))
    assert outcome.code == 1
    assert "UserError: " in outcome.output
    assert message in outcome.output
    assert not outcome.rounds


def test_without_the_feature_own_hyperparameters_are_the_bases_to_refuse(trainers):
    outcome = trainers[0].run(job(xgbpatch_background_rows="0"))
    assert outcome.code == 1
    assert "xgbpatch_background_rows" in outcome.output


def test_folds_share_one_importance(trainer):
    outcome = trainer.run(job("binary:logistic", _kfold="3"))
    assert outcome.code == 0, outcome.output
    models, forms = serve_utils.get_loaded_booster(str(outcome.folder / "model"), True)
    means = []
    for model, form in zip(models, forms):
        member = artifacts._explained(model, form)
        rows = xgboost.DMatrix(CASES["dart"].channels["validation"][:, 1:])
        means.append(np.abs(model.predict(rows, pred_contribs=True, **member.options))[:, :-1].mean(axis=0))
    importances = {row["name"]: row["importance"] for row in written(outcome, "importance.json")["features"]}
    assert [importances[f"f{i}"] for i in range(FEATURES)] == pytest.approx(list(np.mean(means, axis=0)), rel=1e-4)
    assert written(outcome, "record.json")["models"] == 3


def test_the_fixes_of_training_go_with_it(trainer):
    fixes = ("custom-metrics", "kfold-eval", "checkpoint-resume", "eval-metric-without-objective")
    training_job = job(
        "binary:logistic", eval_metric="accuracy", _kfold="2", xgbpatch_metrics="training_metrics_of_user.seen"
    )
    outcome = trainer.run(training_job, *fixes)
    assert outcome.code == 0, outcome.output
    assert set(beside(outcome.folder / "model")) == FILES, outcome.output
    assert all({"validation-accuracy", "validation-seen"} <= set(metrics) for _, metrics in outcome.rounds)
    assert outcome.rounds[-1][1]["validation-accuracy"] > 0.5


@pytest.mark.skipif(XGBOOST < (2, 0), reason="xgboost 2.0 and later have quantiles")
def test_quantiles_have_an_importance_each(trainer):
    training_job = job("reg:quantileerror", quantile_alpha="[0.1, 0.9]", eval_metric="quantile")
    outcome = trainer.run(training_job, "metrics", "objectives", "early-stopping", "hyperparameter-encoding")
    assert outcome.code == 0, outcome.output
    for row in written(outcome, "importance.json")["features"]:
        assert len(row["classes"]) == 2
        assert sum(row["classes"]) == pytest.approx(row["importance"])


def test_a_job_that_the_base_finishes_is_finished_whatever_fails_here(trainer):
    """A folder stands where the file should be, and a file where the folder: nothing can be written."""
    place = trainer.new(job())
    (place / "model" / folder.FILE).mkdir()
    (place / "model" / folder.FOLDER).write_text("in the way")
    outcome = trainer.start(place)
    assert outcome.code == 0
    assert "could not be written; the model is complete without" in outcome.output
    assert "Traceback" in outcome.output


def test_a_job_that_the_base_fails_fails_as_there(trainers):
    bad = job(objective="binary:logistic")
    bad.channels["train"][:, 0] = 7
    endings = [trainer.run(bad) for trainer in trainers]
    assert [outcome.code for outcome in endings] == [1, 1]
    errors = [re.findall(r"\w+Error: (?:\[[\d:]+\])?(.*)", outcome.output) for outcome in endings]
    assert errors[0] == errors[1] != []
    assert not beside(endings[1].folder / "model")


def test_checkpoints_are_the_bases(trainers):
    plain, ours = (trainer.run(Job(job().hyperparameters, job().channels, checkpoints=True)) for trainer in trainers)
    # 1.2-2 keeps five, and a thread removes the older ones, when it comes to that before the job ends
    newest = [sorted(os.listdir(str(outcome.folder / "checkpoints")))[-5:] for outcome in (plain, ours)]
    assert newest[0] == newest[1] != []
    assert set(beside(ours.folder / "model")) == FILES


HOST = """
import sys
from support.overlays import training_jobs
from sagemaker_xgboost_container import distributed
distributed._FIRST_PORT, distributed._SECOND_PORT = int(sys.argv[2]), int(sys.argv[3])
training_jobs.become_job(training_jobs.Path(sys.argv[1]) / "ml", {"fixes": "", "interrupt": None})
"""


def test_of_two_hosts_the_master_writes(tmp_path):
    """Both end, which they would not if one waited for the other in an operation of the group."""
    hosts, ports, processes = ["127.0.0.1", "localhost"], training_jobs.free_ports(2), []
    for host in hosts:
        folder = tmp_path / host / "first"
        folder.mkdir(parents=True)
        (tmp_path / host / "ml").symlink_to(folder)
        lay_out(folder, job("binary:logistic", xgbpatch_feature_names="a,b,c,d"))
        resources = {"current_host": host, "hosts": hosts, "network_interface_name": "lo"}
        (folder / "input/config/resourceconfig.json").write_text(json.dumps(resources))
        base = {"SAGEMAKER_BASE_DIR": str(tmp_path / host / "ml"), "SM_INPUT": str(tmp_path / host / "ml/input")}
        known = {**os.environ, **base, "XGBPATCH_FEATURES": "training"}
        processes.append(forks.start(HOST, str(tmp_path / host), *ports, environment=known))
    try:
        assert [process.wait(120) for process in processes] == [0, 0], (tmp_path / hosts[0] / "ml/stderr").read_text()
    finally:
        for process in processes:
            process.kill()
    assert set(beside(tmp_path / hosts[0] / "ml/model")) == FILES
    assert os.listdir(str(tmp_path / hosts[1] / "ml/model")) == []
