"""`--model`: a user's own model directory is served, whatever its objective and width."""

import os

import pytest

from support import broken
from support.broken import Breakage
from xgbpatch import contract
from xgbpatch.contract import Options
from xgbpatch.contract.model import Verdict
from xgbpatch.engine.types import Mount, Run

VERSION = os.environ.get("XGBPATCH_TEST_VERSION", "1.5-1")
OBJECTIVES = {
    "several classes": {"objective": "multi:softprob", "num_class": 3},
    "no selectable inference": {"objective": "count:poisson"},
}
TRAIN = f"""
import os, numpy, xgboost
draw = numpy.random.RandomState(0)
rows = draw.uniform(0, 4, (300, 6))
labels = rows[:, 0].astype(int) % 3
for name, parameters in {OBJECTIVES}.items():
    os.mkdir("/made/" + name)
    xgboost.train(parameters, xgboost.DMatrix(rows, labels), 4).save_model("/made/" + name + "/xgboost-model")
"""
SELECTABLE = ("serve.selectable", "serve.accept-jsonlines")


@pytest.fixture(scope="module")
def models(engine, base_of, tmp_path_factory):
    """A folder a model, by the names of OBJECTIVES."""
    folder = tmp_path_factory.mktemp("models")
    script = Run(base_of(VERSION), ("-c", TRAIN), entrypoint=("python",), mounts=(Mount(folder, "/made"),))
    result = engine.run(script)
    assert result.exit_code == 0, result.stderr
    return folder


def passed(engine, image, folder, checks, logs):
    report = contract.check(engine, image, Options(model=folder, checks=checks, logs=logs))
    assert {result.name: result.reason for result in report.results if result.verdict is not Verdict.PASSED} == {}
    assert [path.name for path in folder.iterdir()] == ["xgboost-model"]
    return {result.name: result.reason for result in report.results}


def test_a_model_of_several_classes_is_served(engine, base_of, models, tmp_path):
    checks = ("serve.csv", "serve.libsvm", "serve.accept-json", "serve.errors", "serve.predictions", *SELECTABLE,
              "serve.bind-port", "batch", "multi-model.load", "multi-model.invoke")  # fmt: skip
    one_worker = Breakage("one-worker", environment={"SAGEMAKER_MODEL_SERVER_WORKERS": "1"})  # nothing is broken
    with broken.built(engine, base_of(VERSION), one_worker) as image:
        reasons = passed(engine, image, models / "several classes", checks, tmp_path)
    assert "raw_score in JSON, CSV and recordio-protobuf" in reasons["serve.selectable"]


def test_a_model_whose_objective_selectable_inference_refuses_is_served(engine, base_of, models, tmp_path):
    reasons = passed(engine, base_of(VERSION), models / "no selectable inference", SELECTABLE, tmp_path)
    assert set(reasons.values()) == {"refused as documented: objective count:poisson"}
