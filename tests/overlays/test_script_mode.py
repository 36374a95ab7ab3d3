"""The helper for user inference scripts, alone and under the base's own two script-mode servers."""

import csv
import importlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import xgboost
from mms.context import RequestProcessor
from mms.model_loader import MmsModelLoader
from sagemaker_containers import _env
from sagemaker_containers.beta.framework import worker
from sagemaker_xgboost_container import serving
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from xgbpatch_overlays import script_mode
from xgbpatch_overlays.shap import values

from support.overlays import forks, zoo
from support.overlays.endpoint import SHAP

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "script-mode" / "abalone.py"
DATA = ROOT / "xgbpatch" / "data" / "abalone"
DOCUMENT = ROOT / "docs" / "features.md"


@pytest.fixture
def boosters(tmp_path):
    """Loads a model of the zoo as a script does."""

    def load(name):
        return xgboost.Booster(model_file=str(zoo.save({**zoo.ZOO, **zoo.SPECIMENS}[name], tmp_path, name)))

    return load


@pytest.mark.parametrize("name", ["regression", "binary", "softprob", "dart", "gblinear", "early-stopping"])
def test_an_explanation_adds_up_to_what_predict_returns(boosters, name):
    booster, x = boosters(name), zoo.inputs(rows=10)
    matrix = script_mode.matrix(x)
    explanation = script_mode.explain(booster, matrix)
    margins = booster.predict(matrix, output_margin=True, validate_features=False)
    assert np.all(np.abs(explanation.values.sum(axis=-1) - margins) <= 1e-4 * np.maximum(1, np.abs(margins)))
    assert explanation.names == tuple(f"f{feature}" for feature in range(zoo.FEATURES))


def test_the_cut_of_the_prediction_is_explained(boosters):
    booster, matrix = boosters("regression"), script_mode.matrix(zoo.inputs(rows=5))
    cut = {"ntree_limit": 3} if zoo.XGBOOST < (1, 4) else {"iteration_range": (0, 3)}
    explanation = script_mode.explain(booster, matrix, options=cut)
    assert np.allclose(explanation.values.sum(axis=-1), booster.predict(matrix, output_margin=True, **cut), atol=1e-4)


def test_narrow_records_are_explained_as_missing(boosters):
    booster, x = boosters("regression"), zoo.inputs(rows=5)
    wide = x.copy()
    wide[:, -2:] = np.nan
    narrow = script_mode.explain(booster, script_mode.matrix(x[:, :-2])).values
    assert np.array_equal(narrow, script_mode.explain(booster, script_mode.matrix(wide)).values)


def test_an_ensemble_is_explained_by_the_mean_and_a_vote_is_refused(boosters):
    members, matrix = [boosters("regression"), boosters("dart")], script_mode.matrix(zoo.inputs(rows=5))
    explanation = script_mode.explain(members, matrix)
    expected = np.mean([member.predict(matrix) for member in members], axis=0)
    assert np.allclose(explanation.values.sum(axis=-1), expected, atol=1e-4)
    with pytest.raises(values.NotExplained) as refusal:
        script_mode.explain([boosters("softmax"), boosters("softmax")], matrix)
    assert (refusal.value.status, "votes" in refusal.value.reason) == (400, True)


def test_names_beside_the_model_are_used(boosters, tmp_path):
    names = ["age", "income", "x, y", "d", "e", "f"]
    (tmp_path / "xgbpatch").mkdir()
    (tmp_path / "xgbpatch" / "feature_names.json").write_text(json.dumps(names))
    x = zoo.inputs(rows=2)
    booster = boosters("regression")
    explanation = script_mode.explain(booster, script_mode.matrix(x), folder=str(tmp_path))
    text = script_mode.append_csv(booster.predict(script_mode.matrix(x)), explanation, header=True)
    assert next(csv.reader([text.splitlines()[0]])) == ["prediction", "base_value", *names]


def test_interactions_and_json(boosters):
    booster, matrix = boosters("softprob"), script_mode.matrix(zoo.inputs(rows=3))
    explanation = script_mode.explain(booster, matrix, interactions=True)
    scores = booster.predict(matrix)
    records = json.loads(script_mode.append_json(scores, explanation, top_k=2))["predictions"]
    assert [record["score"] for record in records] == scores.tolist()
    assert list(records[0]) == ["score", "base_value", "shap_top_k", "shap_interactions"]
    assert np.array(records[0]["shap_interactions"]).shape == (3, zoo.FEATURES + 1, zoo.FEATURES + 1)


# What rows carry (labels and weights have no part in a prediction), and what a model may be

MARGINS = {"binary": [2, -1, 0.5, 0], "softprob": np.arange(12).reshape(4, 3) / 5, "missing": [2, -1, 0.5, 0]}


def refusal(*arguments, **options):
    with pytest.raises(values.NotExplained) as refused:
        script_mode.explain(*arguments, **options)
    assert refused.value.status == 400
    return refused.value.reason


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("columns", [6, 5], ids=["whole", "narrower"])
@pytest.mark.parametrize("name", sorted(MARGINS))
def test_a_base_margin_is_explained_or_refused(boosters, name, columns, sparse):
    booster, cells = boosters(name), np.nan_to_num(zoo.inputs(rows=4))[:, :columns]
    for each in (booster, [booster, boosters(name)], script_mode.accelerate(booster)):
        matrix = script_mode.matrix(scipy.sparse.csr_matrix(cells) if sparse else cells)
        matrix.set_base_margin(np.ravel(MARGINS[name]))
        matrix.set_weight([1, 2, 3, 4])
        for more in ({}, {"approximate": True}, {"interactions": True}):
            predicted = booster.predict(matrix, output_margin=True, validate_features=False)
            try:
                shap_values = script_mode.explain(each, matrix, **more).values
            except values.NotExplained as refused:
                reason = refused.reason
            else:
                reason = ""
                assert np.allclose(shap_values.sum(axis=-1), predicted, atol=1e-4)
            # xgboost 3 predicts narrower rows without a missing cell by another rule, which shows where a split has one
            misread = columns == 5 and zoo.XGBOOST >= (3, 0)
            assert not reason or (misread and "they have 5 columns, and the model has 6" in reason)


def test_a_base_margin_has_no_place_in_probability_space(boosters, tmp_path, monkeypatch):
    monkeypatch.setenv("XGBPATCH_FEATURES", "shap,shap-probability")
    (tmp_path / "xgbpatch").mkdir()
    np.save(str(tmp_path / "xgbpatch" / "background.npy"), zoo.inputs(rows=20, seed=3))
    booster, options = boosters("binary"), {"folder": str(tmp_path), "space": "probability"}
    matrix = script_mode.matrix(zoo.inputs(rows=4))
    assert np.allclose(
        script_mode.explain(booster, matrix, **options).values.sum(axis=-1), booster.predict(matrix), atol=1e-4
    )
    cut = {"ntree_limit": 3} if zoo.XGBOOST < (1, 4) else {"iteration_range": (0, 3)}
    explanation = script_mode.explain(booster, matrix, options=cut, **options)
    assert np.allclose(explanation.values.sum(axis=-1), booster.predict(matrix, **cut), atol=1e-4)
    matrix.set_base_margin(MARGINS["binary"])
    assert "base margin" in refusal(booster, matrix, **options)


def test_a_number_that_stands_for_missing_is_never_read_as_one(boosters):
    booster, x = boosters("missing"), np.nan_to_num(zoo.inputs(rows=4), nan=-1.0)
    x[:, 1] = -1
    matrix = script_mode.matrix(x, missing=-1.0)
    predicted = booster.predict(matrix, output_margin=True)
    assert np.allclose(script_mode.explain(booster, matrix).values.sum(axis=-1), predicted, atol=1e-4)
    assert "5 columns, the model has 6" in refusal(booster, script_mode.matrix(x[:, :5], missing=-1.0))


def test_names_that_the_rows_carry_are_kept_or_refused(boosters):
    names, x = list("abcdef"), zoo.inputs(rows=2)
    assert script_mode.explain(boosters("regression"), script_mode.matrix(x, feature_names=names)).names == tuple(names)
    named = xgboost.train({"max_depth": 2}, xgboost.DMatrix(x, label=[0, 1], feature_names=names), 2)
    assert script_mode.explain(named, script_mode.matrix(x, feature_names=names)).names == tuple(names)
    assert script_mode.explain(named, script_mode.matrix(x)).names == tuple(names)
    other = script_mode.matrix(x[:, ::-1], feature_names=names[::-1])
    assert 'column 0 of the rows is "f", the model\'s is "a"' in refusal(named, other)


def test_names_beside_the_model_count_and_a_folder_may_be_named_later(boosters, tmp_path):
    (tmp_path / "xgbpatch").mkdir()
    (tmp_path / "xgbpatch" / "feature_names.json").write_text(json.dumps(list("abcdef")))
    booster, x = boosters("regression"), zoo.inputs(rows=2)
    assert script_mode.explain(booster, script_mode.matrix(x)).names[0] == "f0"
    for shown in (list("uvwxyz"), list("abcdef")):
        matrix = script_mode.matrix(x, feature_names=shown)
        assert script_mode.explain(booster, matrix, folder=str(tmp_path)).names == tuple("abcdef")
    assert "column 0" in refusal(booster, script_mode.matrix(x, feature_names=list("bacdef")), folder=str(tmp_path))


@pytest.mark.skipif(zoo.XGBOOST < (1, 7), reason="xgboost before 1.7 has no categories here")
@pytest.mark.parametrize("columns", [6, 5], ids=["whole", "narrower"])
def test_categorical_types_are_kept_or_refused(boosters, columns):
    booster, x = boosters("categorical"), np.floor(np.abs(np.nan_to_num(zoo.inputs(rows=4)))) % zoo.CATEGORIES
    types = list(booster.feature_types)[:columns]
    matrix = script_mode.matrix(x[:, :columns], feature_types=types, enable_categorical=True)
    predicted = booster.predict(matrix, output_margin=True, validate_features=False)
    try:
        explanation = script_mode.explain(booster, matrix)
    except values.NotExplained:
        assert columns == 5
    else:
        assert np.allclose(explanation.values.sum(axis=-1), predicted, atol=1e-4)


def estimator(kind, best=True, **more):
    """One of xgboost's estimators, fitted; with `best` it has stopped early."""
    random = np.random.RandomState(5)
    x = random.rand(120, zoo.FEATURES).astype(np.float32)
    y = {"XGBRegressor": x.sum(axis=1) + random.rand(120)}.get(
        kind, (x.sum(axis=1) + random.rand(120) > 3.5).astype(int)
    )
    model = getattr(xgboost, kind)(n_estimators=40, max_depth=3, **more)
    if not best:
        return model.fit(x, y, **({"group": [60, 60]} if kind == "XGBRanker" else {})), x
    stopping = {"early_stopping_rounds": 2}
    if zoo.XGBOOST >= (2, 0):
        model.set_params(**stopping)
        stopping = {}
    groups = {"group": [80], "eval_group": [[40]]} if kind == "XGBRanker" else {}
    model.fit(x[:80], y[:80], eval_set=[(x[80:], y[80:])], verbose=False, **dict(groups, **stopping))
    assert model.get_booster().best_iteration < 39
    return model, x


@pytest.mark.parametrize(
    ("kind", "best"),
    [
        ("XGBClassifier", True),
        ("XGBRegressor", True),
        ("XGBRanker", True),
        ("XGBRanker", False),
        ("XGBRFRegressor", False),
    ],
)
def test_an_estimator_is_explained_with_the_rounds_that_it_predicts_with(kind, best):
    model, x = estimator(kind, best)
    matrix = script_mode.matrix(x[:5])
    expected = model.predict(x[:5], output_margin=True)
    assert np.allclose(script_mode.explain(model, matrix).values.sum(axis=-1), expected, atol=1e-4)


def test_what_is_no_model_of_xgboost_is_refused_in_words():
    model, x = estimator("XGBClassifier", best=False)
    matrix = script_mode.matrix(x[:2])
    pipeline = Pipeline([("scale", StandardScaler()), ("model", model)])
    assert "pipeline[-1]" in refusal(pipeline, matrix)
    assert "a StandardScaler is neither" in refusal([model, StandardScaler()], matrix)
    assert "fit" in refusal(xgboost.XGBClassifier(), matrix)
    assert "the rows are a ndarray: give matrix(rows)" in refusal(model, x[:2])
    assert 'predict with "pred_leaf" has no explanation' in refusal(model, matrix, options={"pred_leaf": True})


@pytest.mark.parametrize("name", ["regression", "binary", "softprob"])
def test_an_accelerated_booster_answers_bit_for_bit(boosters, name, monkeypatch):
    monkeypatch.setenv("XGBPATCH_FEATURES", "daal4py")
    monkeypatch.setenv("XGBPATCH_ENGINE", "daal4py")
    booster, x = boosters(name), zoo.inputs(rows=50)
    fast = script_mode.accelerate(booster)
    assert fast.engine == "daal4py", fast.reason
    expected = booster.predict(xgboost.DMatrix(x), validate_features=False)
    monkeypatch.setattr(booster, "predict", None)  # it is not asked
    assert np.array_equal(fast.predict(x, validate_features=False), expected)


def test_what_was_not_proved_is_predicted_by_the_booster(boosters):
    booster, matrix = boosters("regression"), script_mode.matrix(zoo.inputs(rows=5))
    fast = script_mode.accelerate(booster)
    for options in ({"output_margin": True}, {"pred_leaf": True}, {"pred_contribs": True}):
        assert np.array_equal(fast.predict(matrix, **options), booster.predict(matrix, **options))
    assert fast.save_config() == booster.save_config()


def test_without_daal4py_the_booster_predicts(boosters, monkeypatch):
    monkeypatch.setenv("XGBPATCH_ENGINE", "booster")
    booster, x = boosters("regression"), zoo.inputs(rows=5)
    slow = script_mode.accelerate(booster)
    assert (slow.engine, slow.reason) == ("booster", "XGBPATCH_ENGINE=booster")
    assert np.array_equal(slow.predict(x), booster.predict(xgboost.DMatrix(x)))


def test_the_document_shows_the_script_that_is_tested():
    source = SCRIPT.read_text(encoding="utf-8")
    assert source[source.index("def model_fn") : source.index("if __name__")].strip() in DOCUMENT.read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("accept", ["text/csv", "application/json"])
def test_the_example_answers_as_algorithm_mode_does(abalone, server, accept):
    """In the base's own single-model server of script mode, and in its multi-model server."""
    folder, body = abalone
    expected = numbers(server(folder / "xgboost-model", **SHAP).post(body, accept).data.decode(), accept)
    assert len(expected) == 5
    os.environ["SAGEMAKER_PROGRAM"] = "abalone.py"  # the stage puts it back
    transformer = serving._user_module_transformer(importlib.import_module("abalone"))
    transformer.initialize()
    client = worker.Worker(transform_fn=transformer.transform, module_name="abalone").test_client()
    response = client.post("/invocations", data=body, content_type="text/csv", headers={"Accept": accept})
    assert response.status_code == 200
    assert numbers(response.data.decode(), accept) == expected
    service = MmsModelLoader().load("model", str(folder), "sagemaker_xgboost_container.handler_service", None, 1)
    service.context.request_processor = [RequestProcessor({"Content-Type": "text/csv", "Accept": accept})]
    (answer,) = service._entry_point([{"body": body.encode()}], service.context)
    assert numbers(answer, accept) == expected


@pytest.fixture
def abalone(tmp_path, monkeypatch):
    """(folder of the model that the example has trained, five rows as CSV), and the script where a server finds it."""
    lines = [line.split() for line in (DATA / "validation.libsvm").read_text().splitlines()[:400]]
    rows = [[word.split(":")[-1] for word in line] for line in lines]
    for name in ("channel", "folder"):
        (tmp_path / name).mkdir()
    (tmp_path / "channel" / "train.csv").write_text("".join(",".join(row) + "\n" for row in rows))
    environment = dict(os.environ, SM_CHANNEL_TRAIN=str(tmp_path / "channel"), SM_MODEL_DIR=str(tmp_path / "folder"))
    source = SCRIPT.read_text(encoding="utf-8")
    trained = forks.run(source, "--num_round", "10", "--max_depth", "4", environment=environment)
    assert trained.returncode == 0, trained.stderr
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    monkeypatch.setattr(_env, "model_dir", str(tmp_path / "folder"))
    return tmp_path / "folder", "\n".join(",".join(row[1:]) for row in rows[:5])


def numbers(text, accept):
    """Of each record the prediction, the base value and the SHAP values, as float32."""
    if accept == "application/json":
        records = json.loads(text)["predictions"]
        rows = [[record["score"], record["base_value"], *record["shap_values"]] for record in records]
    else:
        rows = [line.split(",") for line in text.splitlines()]
    return np.array(rows, dtype=np.float32).tolist()
