"""Hyperparameters as SDKs send them: JSON text (framework estimators), or `str` of a value (a plain `Estimator`)."""

import json
import re

import numpy as np
import pytest
from sagemaker_xgboost_container.algorithm_mode import hyperparameter_validation, metrics
from xgbpatch_overlays.fixes import hyperparameter_encoding
from xgbpatch_overlays.training import options

from support.overlays.training_jobs import Job, Trainer

NAMES = ["a", "b", "c", "d"]
CLASSES = np.random.RandomState(0).rand(240, 4).round(4)


@pytest.mark.parametrize(
    "text",
    [
        "a,b,c,d",
        " a, b ,c,d ",
        '"a,b,c,d"',
        "'a,b,c,d'",
        json.dumps(NAMES),
        str(NAMES),
        str(tuple(NAMES)),
        json.dumps(json.dumps(NAMES)),
        json.dumps(str(NAMES)),
        '"a","b","c","d"',
        "a,'b',c,\"d\"",
    ],
)
def test_names_of_features_in_every_form_that_an_sdk_sends(text):
    assert options.take({"xgbpatch_feature_names": text}) == (options.TrainingOptions(feature_names=tuple(NAMES)), {})


def test_a_name_in_a_list_keeps_its_commas_spaces_and_quotes():
    names = ["x, y", ' "in" ', "it's"]
    for text in (json.dumps(names), str(names)):
        assert options.take({"xgbpatch_feature_names": text})[0].feature_names == tuple(names)


@pytest.mark.parametrize(
    "text", ['["a", "b"', "[a, b]", '"a', "{'a': 1}", "[1, 2]", '["a", ["b"]]', "[]" * 5, "[" * 9999]
)
def test_what_is_no_list_of_names_is_refused_with_its_value(text):
    with pytest.raises(options.OptionError) as refused:
        options.take({"xgbpatch_feature_names": text})
    assert re.sub("[\"' ]", "", text)[:8] in re.sub("[\"' ]", "", str(refused.value))


@pytest.mark.parametrize("text", ["0", '"0"', "'0'", " 0 ", '"\\"0\\""'])
def test_a_number_in_quotes_is_that_number(text):
    assert options.take({"xgbpatch_background_rows": text})[0].background_rows == 0


@pytest.mark.parametrize("text", ["[0]", '"none"', "0.5", "null", "True"])
def test_what_is_no_number_is_refused_with_its_value(text):
    with pytest.raises(options.OptionError, match=r"xgbpatch_background_rows=.*is not a whole number from 0 to 1000"):
        options.take({"xgbpatch_background_rows": text})


def test_metrics_and_a_path_in_quotes(tmp_path):
    expected = (options.UserMetric("m.one"), options.UserMetric("m.two", maximize=True))
    for text in ("m.one,m.two:maximize", '["m.one", "m.two:maximize"]', '"m.one, m.two:maximize"'):
        assert options.take({"xgbpatch_metrics": text})[0].metrics == expected
    (tmp_path / "names.json").write_text(json.dumps(NAMES))
    path = json.dumps(str(tmp_path / "names.json"))
    assert options.take({"xgbpatch_feature_names": path})[0].feature_names == tuple(NAMES)


# The fix: the base's own


@pytest.fixture(scope="module")
def known():
    return hyperparameter_validation.initialize(metrics.initialize())


@pytest.mark.parametrize(
    ("name", "text", "plain"),
    [
        ("num_round", '"5"', "5"),
        ("num_round", "5", "5"),
        ("num_round", "'5'", "5"),
        ("learning_rate", '"0.3"', "0.3"),
        ("objective", '"reg:squarederror"', "reg:squarederror"),
        ("objective", '"\\"reg:squarederror\\""', "reg:squarederror"),
        ("eval_metric", '["rmse", "mae"]', "rmse,mae"),
        ("eval_metric", "['rmse', 'mae']", "rmse,mae"),
        ("eval_metric", '"rmse,mae"', "rmse,mae"),
        ("eval_metric", "rmse, mae", "rmse,mae"),
        ("eval_metric", '"error@0.7"', "error@0.7"),
        ("save_model_on_termination", "True", "true"),
        ("save_model_on_termination", "true", "true"),
        ("monotone_constraints", "[1, -1]", "(1, -1)"),
        ("monotone_constraints", "(1, -1)", "(1, -1)"),
        ("monotone_constraints", '"(1, -1)"', "(1, -1)"),
        ("interaction_constraints", '"[[1, 2], [3]]"', "[[1, 2], [3]]"),
        ("interaction_constraints", "[[1,2],[3]]", "[[1,2],[3]]"),
        ("nobody_knows", '"1"', "1"),
        ("nobody_knows", "[0.1, 0.9]", "[0.1, 0.9]"),
        ("objective", '["reg', '["reg'),
        ("num_round", 5, 5),
    ],
)
def test_the_base_is_told_what_was_meant(known, name, text, plain):
    assert hyperparameter_encoding._plain(known, name, text) == plain


def test_what_the_base_reads_today_it_reads_as_before(known):
    for name, hyperparameter in known.hyperparameters.items():
        for text in ("1", "0.5", "true", "hist", "rmse", "(1,-1)", "[[1, 2]]", "reg:squarederror", "validation:rmse"):
            if hyperparameter_encoding._reads(hyperparameter, text):
                assert hyperparameter_encoding._plain(known, name, text) == text


def job(**hyperparameters):
    table = np.column_stack([3 * CLASSES[:, 0] - CLASSES[:, 1], CLASSES])
    return Job(hyperparameters, {"train": table[:160], "validation": table[160:]})


def test_jobs_in_either_form_train_the_same_model_and_a_wrong_value_is_the_bases_error(tmp_path):
    plain = {"num_round": "3", "objective": "reg:squarederror", "eval_metric": "rmse,mae", "eta": "0.5", "seed": "1"}
    forms = [{name: json.dumps(text) for name, text in plain.items()}, dict(plain, eval_metric="['rmse', 'mae']")]
    with Trainer(tmp_path) as trainer:
        expected = trainer.run(job(**plain))
        assert [trainer.run(job(**hyperparameters)).code for hyperparameters in forms] == [1, 1]
        for hyperparameters in forms:
            outcome = trainer.run(job(**hyperparameters), "hyperparameter-encoding", "eval-metric-without-objective")
            assert outcome.code == 0, outcome.output
            assert outcome.models[0].read_bytes() == expected.models[0].read_bytes()
            assert outcome.rounds == expected.rounds
        wrong = trainer.run(job(**dict(forms[0], eta='"2"')), "hyperparameter-encoding")
    assert (wrong.code, "eta" in wrong.output) == (1, True)


def test_a_base_that_reads_it_by_itself_is_left_alone(monkeypatch):
    assert hyperparameter_encoding.hyperparameter_encoding_not_needed() == ""
    monkeypatch.setattr(
        hyperparameter_validation, "initialize", lambda metrics: type("Known", (), {"validate": dict})()
    )
    assert hyperparameter_encoding.hyperparameter_encoding_not_needed() == "a number in quotes is read as a number"
