"""`xgbpatch_overlays.train:main` is the base's training, and what a failing job leaves is the base's."""

import collections
import dataclasses
import re

import numpy as np
import pytest
from xgbpatch_overlays import fixes, train

from support.overlays.training_jobs import Job, Trainer

BASE, OURS = "sagemaker_xgboost_container.training:main", "xgbpatch_overlays.train:main"
READ = 1024  # characters that SageMaker shows of a failure
EVERY = [name for name, fix in fixes.FIXES.items() if fixes.TRAINING in fix.stages]


def test_main_is_the_bases_own_function():
    assert train.main is train.training.main
    with pytest.raises(AttributeError):
        train.other  # noqa: B018


def job(labels=None, channel="text/csv", **hyperparameters):
    rows = np.random.RandomState(0).rand(60, 4).round(4)
    rows[:, 0] = np.floor(3 * rows[:, 1]) if labels is None else labels
    return Job(dict({"num_round": "2", "objective": "reg:squarederror"}, **hyperparameters), {"train": rows})


FAILING = {
    "out-of-range": job(eta="-1"),
    "without-rounds": Job({"objective": "reg:squarederror"}, job().channels),
    "unknown-name": job(max_dept="3"),
    "bad-label": job(objective="binary:logistic", labels=7),
    "bad-classes": job(objective="multi:softprob", num_class="2"),
    "no-channel": Job(job().hyperparameters, {"other": job().channels["train"]}),
    "letters": job(eval_metric="rmse", num_round="two"),
    "no-fold": job(_kfold="100"),
}
FEATURE = {
    "ours": ({"xgbpatch_background_rows": "many"}, 'xgbpatch_background_rows="many" is not a whole number'),
    "ours-wide": ({"xgbpatch_feature_names": "a,b"}, "xgbpatch_feature_names has 2 names, the train channel 3 columns"),
    "ours-unknown": ({"xgbpatch_name": "a"}, 'The hyperparameter "xgbpatch_name" is not known'),
    "ours-metric": ({"xgbpatch_metrics": "no_such.metric"}, 'xgbpatch_metrics: "no_such.metric" is no function'),
}


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    with Trainer(tmp_path_factory.mktemp("failing")) as started:
        yield started


@pytest.mark.parametrize("name", sorted(FAILING))
def test_a_failing_job_leaves_the_bases_bytes(trainer, name):
    plain = trainer.fail(FAILING[name], BASE)
    assert (plain.code, plain.failure[:16]) == (1, b"framework error:"), plain.output
    nothing_on = trainer.fail(FAILING[name], OURS)
    assert (nothing_on.code, alike(nothing_on.failure)) == (plain.code, alike(plain.failure))
    all_on = trainer.fail(FAILING[name], OURS, *EVERY, features="training")
    if name == "out-of-range":  # the fix `objectives` says behind it what xgboost says
        line = b"\nsagemaker_algorithm_toolkit.exceptions.UserError: "
        assert 0 < all_on.failure.index(line) <= plain.failure.index(line)
        all_on = trainer.fail(FAILING[name], OURS, *(fix for fix in EVERY if fix != "objectives"), features="training")
    assert (all_on.code, alike(all_on.failure)) == (plain.code, alike(plain.failure))


def alike(failure):
    """Without the time and the addresses of xgboost's own stack, which differ from one process to the next."""
    return re.sub(rb"\[\d\d:\d\d:\d\d\]|0x[0-9a-f]+", b"", failure)


@pytest.mark.parametrize("name", sorted(FEATURE))
def test_an_error_of_ours_stands_where_a_reader_sees_it(trainer, name):
    hyperparameters, message = FEATURE[name]
    outcome = trainer.fail(job(**hyperparameters), OURS, *EVERY, features="training")
    assert outcome.code == 1
    text = outcome.failure.decode()
    assert message in text[:READ]
    assert re.findall(r"(\w*Error): " + re.escape(message), text)[:1] == ["UserError"]


def lines(outcome):
    """The log by its lines, without what differs from one process to the next."""
    text = re.sub(
        r"\[[\d:-]*(:INFO)?\] |(?<=rows.csv)-?\d+|^\S*sagemaker_containers\S*.*\n.*\n", "", outcome.output, flags=re.M
    )
    return collections.Counter(text.splitlines())


@pytest.mark.parametrize("checkpoints", [False, True], ids=["plain", "checkpoints"])
def test_the_log_of_a_job_has_the_documented_lines_more_and_no_other(trainer, checkpoints):
    training_job = dataclasses.replace(job(eval_metric="rmse"), checkpoints=checkpoints)
    plain, ours = trainer.fail(training_job, BASE), trainer.fail(training_job, OURS, *EVERY, features="training")
    assert plain.code == ours.code == 0, ours.output
    more, less = lines(ours) - lines(plain), lines(plain) - lines(ours)
    assert list(less) == [f"Imported framework {BASE[:-5]}"]
    more.subtract([f"Imported framework {OURS[:-5]}"])
    documented = r"Fix (\S+)(: installed| steps aside: .*)|Wrote .*/ml/model/(\.xgbpatch\.zip|xgbpatch)"
    matches = [re.fullmatch(documented, line) for line in more.elements()]
    assert None not in matches, sorted(more.elements())
    assert sorted(match[1] or "" for match in matches) == ["", *sorted(EVERY)]
    assert {match[1] for match in matches if match[2] == ": installed"} >= {"eval-metric-without-objective"}
