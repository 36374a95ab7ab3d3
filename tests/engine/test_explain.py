"""`xgbpatch explain --image`: the image's own server gives the bytes that this machine gives."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from support.documentation import commands, run_by
from support.explained import NAMES, abalone
from xgbpatch.cli import cli
from xgbpatch.errors import BaseImageError

pytestmark = pytest.mark.parametrize("version", ["3.2-0"], scope="session")
OBJECTIVES = {"binary:logistic": {}, "multi:softmax": {"num_class": 3}}  # of a vote the columns are counted otherwise


def run(*arguments):
    result = CliRunner().invoke(cli, [*map(str, arguments), "--json"])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def rows(tmp_path):
    """626 rows of abalone, some cells of which are empty."""
    table = abalone("validation.libsvm")[:, 1:].astype(object)
    table[np.random.default_rng(0).random(table.shape) < 0.05] = ""
    path = tmp_path / "rows" / "rows.csv"
    path.parent.mkdir()
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in table))
    return path


def trained(path, objective):
    import xgboost  # a second and a half, which no worker needs that runs other files

    train = abalone("train_0.libsvm")
    labels = np.digitize(train[:, 0], [9] if objective == "binary:logistic" else [8, 11])
    matrix = xgboost.DMatrix(train[:, 1:], labels, feature_names=[name.replace(" ", "_") for name in NAMES])
    parameters = {"objective": objective, "max_depth": 4, "nthread": 1, **OBJECTIVES[objective]}
    xgboost.train(parameters, matrix, 10).save_model(path)
    return path


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_image_gives_the_bytes_of_this_machine(patched, version, tmp_path, monkeypatch, rows, objective):
    """The image by the command of docs/explain.md, whose image has the name of this machine's."""
    import xgboost

    monkeypatch.chdir(tmp_path)
    with tarfile.open("model.tar.gz", "w:gz") as packed:
        packed.add(trained(Path("model.json"), objective))
    (page,) = (words[1:] for block in run_by(__file__, "docs/explain.md") for words in commands(block.script))
    image = patched(version, "shap").reference
    here = run("explain", "model.json", rows, "--output", "here")
    there = run(*(image if word == "my/image:tag" else word for word in page), "--threads", "1")
    assert (here["parts"], here["rows"]) == (there["parts"], there["rows"]) == (["part-00000.csv"], 626)
    one, two = (Path(folder, "part-00000.csv").read_text() for folder in ("here", "explained-by-image"))
    assert one.splitlines()[0] == two.splitlines()[0]
    if xgboost.__version__ == "3.2.0":
        assert one == two
    tables = (np.loadtxt(text.splitlines()[1:], delimiter=",") for text in (one, two))
    np.testing.assert_allclose(*tables, rtol=0, atol=1e-5)


def test_an_image_without_the_feature_is_refused(patched, version, tmp_path, rows):
    model = trained(tmp_path / "model.json", "binary:logistic")
    with pytest.raises(BaseImageError, match='does not carry the feature "shap"'):
        run("explain", model, rows, "--output", tmp_path / "out", "--image", patched(version).reference)
