"""The helper for user inference scripts, alone and under the base's own two script-mode servers."""

import csv
import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import xgboost
from mms.context import RequestProcessor
from mms.model_loader import MmsModelLoader
from sagemaker_containers import _env
from sagemaker_containers.beta.framework import worker
from sagemaker_xgboost_container import serving
from xgbpatch_overlays import script_mode
from xgbpatch_overlays.shap import values

from support.overlays import zoo

SCRIPT = Path(zoo.__file__).with_name("script.py")
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "features.md"


@pytest.fixture
def boosters(tmp_path):
    """Loads a model of the zoo as a script does."""

    def load(name):
        return xgboost.Booster(model_file=str(zoo.save(zoo.ZOO[name], tmp_path, name)))

    return load


@pytest.mark.parametrize("name", ["regression", "binary", "softprob", "dart", "gblinear", "early-stopping"])
def test_an_explanation_adds_up_to_what_predict_returns(boosters, name):
    booster, x = boosters(name), zoo.inputs(rows=10)
    matrix = script_mode.matrix(x)
    found = script_mode.explain(booster, matrix)
    margins = booster.predict(matrix, output_margin=True, validate_features=False)
    assert np.all(np.abs(found.values.sum(axis=-1) - margins) <= 1e-4 * np.maximum(1, np.abs(margins)))
    assert found.names == tuple(f"f{feature}" for feature in range(zoo.FEATURES))


def test_the_cut_of_the_prediction_is_explained(boosters):
    booster, matrix = boosters("regression"), script_mode.matrix(zoo.inputs(rows=5))
    cut = {"ntree_limit": 3} if zoo.XGBOOST < (1, 4) else {"iteration_range": (0, 3)}
    found = script_mode.explain(booster, matrix, options=cut)
    assert np.allclose(found.values.sum(axis=-1), booster.predict(matrix, output_margin=True, **cut), atol=1e-4)


def test_narrow_records_are_explained_as_missing(boosters):
    booster, x = boosters("regression"), zoo.inputs(rows=5)
    wide = x.copy()
    wide[:, -2:] = np.nan
    narrow = script_mode.explain(booster, script_mode.matrix(x[:, :-2])).values
    assert np.array_equal(narrow, script_mode.explain(booster, script_mode.matrix(wide)).values)


def test_an_ensemble_is_explained_by_the_mean_and_a_vote_is_refused(boosters):
    members, matrix = [boosters("regression"), boosters("dart")], script_mode.matrix(zoo.inputs(rows=5))
    found = script_mode.explain(members, matrix)
    expected = np.mean([member.predict(matrix) for member in members], axis=0)
    assert np.allclose(found.values.sum(axis=-1), expected, atol=1e-4)
    with pytest.raises(values.NotExplained) as refusal:
        script_mode.explain([boosters("softmax"), boosters("softmax")], matrix)
    assert (refusal.value.status, "votes" in refusal.value.reason) == (400, True)


def test_names_beside_the_model_are_used(boosters, tmp_path):
    names = ["age", "income", "x, y", "d", "e", "f"]
    (tmp_path / "xgbpatch").mkdir()
    (tmp_path / "xgbpatch" / "feature_names.json").write_text(json.dumps(names))
    x = zoo.inputs(rows=2)
    booster = boosters("regression")
    found = script_mode.explain(booster, script_mode.matrix(x), folder=str(tmp_path))
    text = script_mode.append_csv(booster.predict(script_mode.matrix(x)), found, header=True)
    assert next(csv.reader([text.splitlines()[0]])) == ["prediction", "base_value", *names]


def test_interactions_and_json(boosters):
    booster, matrix = boosters("softprob"), script_mode.matrix(zoo.inputs(rows=3))
    found = script_mode.explain(booster, matrix, interactions=True)
    scores = booster.predict(matrix)
    records = json.loads(script_mode.append_json(scores, found, top_k=2))["predictions"]
    assert [record["score"] for record in records] == scores.tolist()
    assert list(records[0]) == ["score", "base_value", "shap_top_k", "shap_interactions"]
    assert np.array(records[0]["shap_interactions"]).shape == (3, zoo.FEATURES + 1, zoo.FEATURES + 1)


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
    source = SCRIPT.read_text(encoding="utf-8").split("\n", 2)[2].strip()
    assert source in DOCUMENT.read_text(encoding="utf-8")


def test_the_bases_single_model_server_runs_the_script(model, monkeypatch):
    folder, x, expected = model
    monkeypatch.setattr(_env, "model_dir", folder)
    transformer = serving._user_module_transformer(importlib.import_module("script"))
    transformer.initialize()
    client = worker.Worker(transform_fn=transformer.transform, module_name="script").test_client()
    response = client.post("/invocations", data=zoo.csv(x), content_type="text/csv", headers={"Accept": "text/csv"})
    assert response.status_code == 200
    check(response.data.decode(), expected)


def test_the_bases_multi_model_server_runs_the_script(model, monkeypatch):
    folder, x, expected = model
    monkeypatch.setenv("SAGEMAKER_PROGRAM", "script.py")
    service = MmsModelLoader().load("model", folder, "sagemaker_xgboost_container.handler_service", None, 1)
    service.context.request_processor = [RequestProcessor({"Content-Type": "text/csv", "Accept": "text/csv"})]
    (answer,) = service._entry_point([{"body": zoo.csv(x).encode()}], service.context)
    check(answer, expected)


@pytest.fixture
def model(tmp_path, monkeypatch):
    """(folder of a model, rows, their predictions), and the script where a server finds it"""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    x = zoo.inputs(rows=4)
    booster = xgboost.Booster(model_file=str(zoo.save(zoo.ZOO["regression"], tmp_path)))
    return str(tmp_path), x, booster.predict(xgboost.DMatrix(x))


def check(text, expected):
    """Prediction, base value and three pairs in each line."""
    lines = list(csv.reader(text.splitlines()))
    assert [np.float32(line[0]) for line in lines] == list(expected)
    assert {len(line) for line in lines} == {2 + 3}
    assert all("=" in cell for line in lines for cell in line[2:])
