"""The fixes of training: each bug as the base shows it, and the same job with its fix.

Jobs run the base's own `train`, one process each; what has no bug on the base under test is expected to be the same.
"""

import json
import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
import xgboost
from sklearn import metrics
from xgbpatch_overlays.fixes import _train_job, checkpoint_resume

from support.overlays import forks, training_jobs
from support.overlays.training_jobs import Job, Trainer

XGBOOST = tuple(int(part) for part in xgboost.__version__.split(".")[:2])
RESUMES = XGBOOST < (1, 3)
ROUNDS = 12
HOST = Path(training_jobs.__file__).with_name("resuming_host.py")
EVERY = ("checkpoint-resume", "custom-metrics", "kfold-eval", "kfold-checkpoint", "eval-metric-without-objective")


def rows(classes, seed=7, count=240):
    """Label, then four features that tell it roughly; csv as SageMaker takes it."""
    random = np.random.RandomState(seed)
    features = random.rand(count, 4).round(5)
    score = features[:, 0] + 0.4 * random.rand(count)
    label = np.floor(classes * (score - score.min()) / (np.ptp(score) + 1e-6)) if classes else score
    return np.column_stack([label, features]).round(6)


def channels(classes):
    table = rows(classes)
    return {"train": table[:160], "validation": table[160:]}


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    with Trainer(tmp_path_factory.mktemp("training")) as started:
        yield started


def matrix(table):
    return xgboost.DMatrix(table[:, 1:], label=table[:, 0])


def booster(outcome, number=0):
    path = outcome.models[number]
    return pickle.loads(path.read_bytes()) if RESUMES else xgboost.Booster(model_file=str(path))


def installed(outcome, name):
    """Whether the log says that the fix took hold; one of the two is always said."""
    stepped_aside = f"Fix {name} steps aside: " in outcome.output
    assert stepped_aside != (f"Fix {name}: installed" in outcome.output)
    return not stepped_aside


# custom-metrics

AVERAGES = {"f1": "macro", "f1_macro": "macro", "precision_macro": "macro", "recall_macro": "macro"}
AVERAGES.update({"precision_micro": "micro", "recall_micro": "micro"})
NAMES = ["accuracy", "f1", "f1_macro"]
NAMES += [] if XGBOOST < (1, 3) else ["balanced_accuracy", "precision_macro", "precision_micro", "recall_macro"]
OBJECTIVES = {"binary:logistic": 2, "binary:logitraw": 2, "binary:hinge": 2, "multi:softmax": 3, "multi:softprob": 3}
TOLD_WRONG = ("binary:logistic", "multi:softmax")


def scores(outcome, objective, table, names):
    """scikit-learn's, of the classes that the finished model gives."""
    predicted = booster(outcome).predict(matrix(table))
    if objective == "multi:softprob":
        predicted = predicted.argmax(axis=1)
    if objective.startswith("binary:"):
        predicted = predicted > (0 if objective == "binary:logitraw" else 0.5)
    by_class = {
        "accuracy": metrics.accuracy_score,
        "balanced_accuracy": metrics.balanced_accuracy_score,
        "f1": metrics.f1_score,
        "precision": metrics.precision_score,
        "recall": metrics.recall_score,
    }

    def score(name):
        kind = name if name in by_class else name.split("_")[0]
        average = {"average": AVERAGES.get(name, "binary")} if kind in ("f1", "precision", "recall") else {}
        return round(float(by_class[kind](table[:, 0], predicted, **average)), 5)

    return {"validation-" + name: score(name) for name in names}


def job_with_metrics(objective):
    classes = OBJECTIVES[objective]
    names = NAMES + (["f1_binary"] + (["precision", "recall"] if XGBOOST >= (1, 3) else []) if classes == 2 else [])
    hyperparameters = {"objective": objective, "num_round": "3", "max_depth": "3", "eval_metric": ",".join(names)}
    if classes > 2:
        hyperparameters["num_class"] = str(classes)
    return Job(hyperparameters, channels(classes)), names


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_custom_metrics_are_scikit_learns(trainer, objective):
    job, names = job_with_metrics(objective)
    outcome = trainer.run(job, "custom-metrics")
    assert outcome.code == 0, outcome.output
    assert installed(outcome, "custom-metrics") == (XGBOOST >= (3, 0))
    number, reported = outcome.rounds[-1]
    expected = scores(outcome, objective, job.channels["validation"], names)
    assert number == 2
    assert {name: reported[name] for name in expected} == pytest.approx(expected, abs=1.1e-5)


@pytest.mark.parametrize("objective", TOLD_WRONG)
def test_the_base_from_3_0_on_tells_custom_metrics_wrong(trainer, objective):
    job, names = job_with_metrics(objective)
    outcome = trainer.run(job)
    expected = scores(outcome, objective, job.channels["validation"], names)
    reported = {name: outcome.rounds[-1][1][name] for name in expected}
    assert (reported == pytest.approx(expected, abs=1.1e-5)) == (XGBOOST < (3, 0))


# kfold-eval, kfold-checkpoint

FOLDS = 3
KFOLD = {"objective": "reg:squarederror", "num_round": "4", "max_depth": "6", "_kfold": str(FOLDS)}


def rmse_of_folds(outcome):
    """The last line of each fold and what its model has on the whole validation channel."""
    lines = [reported["validation-rmse"] for number, reported in outcome.rounds if number == 3]
    table = channels(0)["validation"]
    whole = [booster(outcome, fold).predict(matrix(table)) - table[:, 0] for fold in range(FOLDS)]
    return lines, [np.sqrt(np.mean(error**2)) for error in whole]


def test_the_base_from_1_7_on_evaluates_folds_on_the_whole_channel(trainer):
    lines, whole = rmse_of_folds(trainer.run(Job(KFOLD, channels(0))))
    assert (lines == pytest.approx(whole, abs=1e-4)) == (XGBOOST >= (1, 7))


def test_folds_are_evaluated_on_what_is_held_out(trainer):
    outcome = trainer.run(Job(KFOLD, channels(0)), "kfold-eval")
    assert installed(outcome, "kfold-eval") == (XGBOOST >= (1, 7))
    lines, whole = rmse_of_folds(outcome)
    assert lines != pytest.approx(whole, abs=1e-4)
    label, predicted = np.loadtxt(str(outcome.folder / "output/data/predictions.csv"), delimiter=",").T
    pooled = np.mean([value**2 for value in lines])  # folds of the same size: 240 rows by three
    assert pooled == pytest.approx(np.mean((label - predicted) ** 2), abs=1e-4)
    assert outcome.rounds[-1][0] == 4
    assert outcome.rounds[-1][1]["validation-rmse"] == pytest.approx(np.mean(lines), abs=2e-5)


def test_kfold_with_checkpoints_trains(trainer):
    job = Job(KFOLD, channels(0), checkpoints=True)
    base = trainer.run(job)
    assert base.code == int(not RESUMES)
    outcome = trainer.run(job, "kfold-checkpoint")
    assert outcome.code == 0, outcome.output
    assert installed(outcome, "kfold-checkpoint")
    assert [path.name for path in outcome.models] == [f"xgboost-model-{fold}" for fold in range(FOLDS)]


# eval-metric-without-objective


def test_eval_metric_without_objective(trainer):
    hyperparameters = {"num_round": "3", "eval_metric": "rmse,mae"}
    base = trainer.run(Job(hyperparameters, channels(0)))
    assert (base.code, "KeyError: 'objective'" in base.output) == (1, True)
    fixed = trainer.run(Job(hyperparameters, channels(0)), "eval-metric-without-objective")
    assert installed(fixed, "eval-metric-without-objective")
    plain = trainer.run(Job({**hyperparameters, "objective": "reg:squarederror"}, channels(0)))
    assert fixed.rounds == plain.rounds
    assert booster(fixed).get_dump() == booster(plain).get_dump()


def test_a_metric_that_does_not_go_with_the_default_objective_is_the_users_error(trainer):
    hyperparameters = {"num_round": "3", "eval_metric": "auc"}
    outcome = trainer.run(Job(hyperparameters, channels(0)), "eval-metric-without-objective")
    assert outcome.code == 1
    assert "UserError: Metric 'auc'" in outcome.output


# checkpoint-resume

PLAIN = {"num_round": str(ROUNDS), "max_depth": "3", "tree_method": "hist"}
DETERMINISTIC = {
    "regression": (0, {"objective": "reg:squarederror"}),
    "base score": (2, {"objective": "binary:logistic", "base_score": "0.3"}),
    "classes": (3, {"objective": "multi:softprob", "num_class": "3"}),
    "forest": (2, {"objective": "binary:logistic", "num_parallel_tree": "2"}),
    "linear": (0, {"objective": "reg:squarederror", "booster": "gblinear", "updater": "coord_descent"}),
    "early stopping": (
        2,
        {"objective": "binary:logistic", "eta": "1", "early_stopping_rounds": "4", "eval_metric": "logloss"},
    ),
}


def resumable(name):
    classes, hyperparameters = DETERMINISTIC[name]
    hyperparameters = {**PLAIN, **hyperparameters}
    if "booster" in hyperparameters:
        del hyperparameters["tree_method"], hyperparameters["max_depth"]
    return Job(hyperparameters, channels(classes), checkpoints=True)


def run_twice(trainer, job, *fixes, killed_in=5, **options):
    """The job, killed when it starts a round, and started again on the same folder."""
    folder = trainer.new(job)
    first = trainer.start(folder, *fixes, interrupt=killed_in)
    assert first.code == -9
    return first.rounds, first.checkpoints, trainer.start(folder, *fixes, **options)


@pytest.mark.parametrize("fixes", [(), ("checkpoint-resume",)], ids=["base", "fixed"])
def test_the_base_from_1_3_on_begins_again(trainer, fixes):
    before, _, after = run_twice(trainer, resumable("regression"), *fixes, forks_to_load=False)
    assert [number for number, _ in before + after.rounds][:5] == list(range(5))
    assert after.rounds[0][0] == (5 if RESUMES or fixes else 0)
    assert not fixes or installed(after, "checkpoint-resume") == (not RESUMES)


needs_fix = pytest.mark.skipif(RESUMES, reason="1.2-2 resumes by itself")


@needs_fix
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_an_interrupted_job_ends_as_if_it_had_not_been(trainer, name):
    job = resumable(name)
    whole = trainer.run(job)
    before, rounds, after = run_twice(trainer, job, "checkpoint-resume")
    assert (len(whole.rounds) < ROUNDS) == (name == "early stopping")
    lost = int(name == "early stopping")  # the line of the last round, up to 1.7-1 and by chance
    assert after.code == 0, after.output
    assert rounds == [0, 1, 2, 3, 4]
    assert [number for number, _ in after.rounds][:1] == [5]
    lines = before + after.rounds
    assert lines[: len(whole.rounds)] == whole.rounds
    assert len(lines) - len(whole.rounds) <= lost
    assert booster(after).get_dump(with_stats=True) == booster(whole).get_dump(with_stats=True)
    if name != "linear":  # whose rounds XGBoost does not count
        assert booster(after).attributes() == booster(whole).attributes()


@needs_fix
def test_checkpoints_that_are_of_no_use_are_passed_over(trainer):
    job = resumable("classes")
    folder = trainer.new(job)
    trainer.start(folder, "checkpoint-resume", interrupt=6)
    four, five = (folder / "checkpoints" / f"xgboost-checkpoint.{number}" for number in (4, 5))
    five.write_bytes(five.read_bytes()[:22])
    other = matrix(rows(2))
    xgboost.train({"objective": "binary:logistic"}, other, num_boost_round=5).save_model(str(four))
    after = trainer.start(folder, "checkpoint-resume", forks_to_load=False)
    assert after.code == 0, after.output
    assert [number for number, _ in after.rounds] == list(range(4, ROUNDS))
    assert after.output.count("is passed over") == 2
    assert "its objective is binary:logistic and not multi:softprob" in after.output


@needs_fix
def test_a_job_that_was_done_trains_its_last_round_again(trainer):
    folder = trainer.new(resumable("regression"))
    first, second = (trainer.start(folder, "checkpoint-resume") for _ in range(2))
    assert second.rounds == first.rounds[-1:]
    assert booster(second).get_dump() == booster(first).get_dump()


@needs_fix
def test_a_folder_that_cannot_be_written_costs_a_warning(trainer):
    folder = trainer.new(resumable("regression"))
    (folder / "checkpoints").rmdir()
    (folder / "checkpoints").write_text("no folder")
    outcome = trainer.start(folder, "checkpoint-resume")
    assert (outcome.code, len(outcome.rounds)) == (0, ROUNDS)
    assert "could not be written" in outcome.output


@needs_fix
def test_hosts_go_on_from_the_newest_checkpoint_that_all_of_them_have(tmp_path):
    model = xgboost.train({}, matrix(rows(0)), num_boost_round=1)
    has = {"127.0.0.1": {"shared": [2, 3, 4], "alone": [4]}, "localhost": {"shared": [2, 3], "alone": []}}
    hosts, (port,) = [], training_jobs.free_ports(1)
    for host, folders in has.items():
        for name, numbers in folders.items():
            for number in numbers:
                checkpoint_resume.Checkpoints(str(tmp_path / host / name)).keep(model, number)
        hosts.append(forks.start(HOST.read_text(), host, port, *[str(tmp_path / host / name) for name in folders]))
    assert [host.wait() for host in hosts] == [0, 0], hosts[0].stderr.read_text()
    assert [json.loads(host.stdout.read_text().splitlines()[-1]) for host in hosts] == [[4, 0], [4, 0]]


def test_the_newest_checkpoints_stay_and_so_does_what_is_being_uploaded(tmp_path):
    model = xgboost.train({}, matrix(rows(0)), num_boost_round=1)
    (tmp_path / "xgboost-checkpoint.0").write_text("of an earlier process")
    (tmp_path / "xgboost-checkpoint.1.sagemaker-uploading").touch()
    checkpoints = checkpoint_resume.Checkpoints(str(tmp_path))
    for number in range(1, 8):
        checkpoints.keep(model, number)
    assert checkpoints.rounds() == [7, 6, 5, 4, 3, 1, 0]
    (tmp_path / "xgboost-checkpoint.1.sagemaker-uploaded").touch()
    checkpoints.keep(model, 8)
    assert checkpoints.rounds() == [8, 7, 6, 5, 4, 0]


# all together


def test_a_job_without_a_bug_is_the_same_with_every_fix(trainer):
    job = Job({**PLAIN, "objective": "reg:squarederror", "eval_metric": "rmse"}, channels(0))
    base, fixed = trainer.run(job), trainer.run(job, *EVERY)
    assert (base.code, fixed.code) == (0, 0)
    assert fixed.rounds == base.rounds
    assert fixed.models[0].read_bytes() == base.models[0].read_bytes()


def test_a_base_that_cannot_be_judged_is_left_alone(monkeypatch, caplog):
    def unlike_any_known(rows):
        raise AssertionError("not reached")

    monkeypatch.setattr(_train_job.algorithm, "train_job", unlike_any_known)
    with caplog.at_level(logging.INFO):
        reason = _train_job.judge(lambda call: "", {"objective": "reg:squarederror"})
    assert reason.startswith("the training of this base is not the one that it knows (TypeError: ")
    assert not caplog.records
