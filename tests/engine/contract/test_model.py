"""`--model`: a user's own model directory is served, whatever its objective and width."""

import os

import pytest

from xgbpatch import contract
from xgbpatch.contract import Options
from xgbpatch.contract.model import Verdict
from xgbpatch.engine.types import Mount, Run

pytestmark = pytest.mark.timeout(300)

TRAIN = """
import numpy, xgboost
draw = numpy.random.RandomState(0)
rows = draw.uniform(0, 4, (300, 6))
labels = rows[:, 0].astype(int) % 3
parameters = {parameters}
xgboost.train(parameters, xgboost.DMatrix(rows, labels), 4).save_model("/made/xgboost-model")
"""
OBJECTIVES = {
    "several classes": {"objective": "multi:softprob", "num_class": 3},
    "no selectable inference": {"objective": "count:poisson"},
}


@pytest.mark.parametrize("parameters", OBJECTIVES.values(), ids=list(OBJECTIVES))
def test_a_model_of_ones_own_is_served(engine, base_of, tmp_path, parameters):
    image = base_of(os.environ.get("XGBPATCH_TEST_VERSION", "1.5-1"))
    folder = tmp_path / "model"
    folder.mkdir()
    script = TRAIN.replace("{parameters}", repr(parameters))
    made = engine.run(Run(image, ("-c", script), entrypoint=("python",), mounts=(Mount(folder, "/made"),)))
    assert made.exit_code == 0, made.stderr

    checks = ("serve.csv", "serve.libsvm", "serve.accept-json", "serve.errors", "serve.predictions", "serve.selectable",
              "serve.accept-jsonlines", "batch", "multi-model.load", "multi-model.invoke")  # fmt: skip
    report = contract.check(engine, image, Options(model=folder, checks=checks, logs=tmp_path / "logs"))
    assert {result.name: result.reason for result in report.results if result.verdict is not Verdict.PASSED} == {}
    assert [path.name for path in folder.iterdir()] == ["xgboost-model"]
