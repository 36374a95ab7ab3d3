"""Each guard of the daal4py path, on a real model of the kind where the xgboost at hand can make one."""

import os
import pickle

import numpy as np
import pytest
import scipy.sparse
import xgboost
from xgbpatch_overlays import onedal, request_data
from xgbpatch_overlays.model import accelerator
from xgbpatch_overlays.model import booster as model_booster

from support.overlays import explaining, zoo

RELEASE = onedal.year(onedal.load())
MODELS = {
    "gblinear": 'the booster is "gblinear"',
    "two-targets": "the model has several targets",
    "quantiles": "the model has several targets",
    "vector-leaves": "the model has several targets",
    "categorical": "the model has categorical splits",
    "categorical-binary": "the model has categorical splits",
}


@pytest.fixture
def counted(monkeypatch):
    """The list of row counts that oneDAL predicts, from now on."""
    calls = []
    margins = onedal.OnedalModel.margins
    monkeypatch.setattr(
        onedal.OnedalModel, "margins", lambda self, rows: calls.append(len(rows)) or margins(self, rows)
    )
    return calls


def document_of(name):
    return model_booster.document(zoo.train(zoo.SPECIMENS[name]))


@pytest.mark.parametrize("name", sorted(set(MODELS) & set(zoo.SPECIMENS)))
def test_models_that_onedal_cannot_express_stay_with_the_booster(tmp_path, name):
    served = explaining.serve(tmp_path, name, **explaining.ONEDAL)
    assert (served.member.choice.engine, served.member.choice.reason) == ("booster", MODELS[name])
    x = zoo.inputs_of(zoo.SPECIMENS[name], rows=5).astype(np.float32)
    assert served.predict(x).tobytes() == served.model.predict(xgboost.DMatrix(x)).tobytes()


@pytest.mark.skipif("vector-leaves" not in zoo.SPECIMENS, reason="trees have vector leaves from xgboost 2.0 on")
def test_vector_leaves_are_seen_in_the_trees_too():
    document = document_of("vector-leaves")
    document["learner"]["learner_model_param"]["num_target"] = "1"
    assert accelerator.guard_model(document) == "the model has vector leaves"


def test_an_objective_of_a_newer_xgboost_is_not_known():
    document = document_of("regression")
    assert accelerator.guard_model(document) == ""
    document["learner"]["objective"]["name"] = "reg:newer"
    assert accelerator.guard_model(document) == 'the objective "reg:newer" is not known'


def chain(folder, depth=30):
    """A pickled model of one tree, a chain: each split takes the last rows off the others."""
    x = np.arange(2.0 * depth).reshape(-1, 1)
    matrix = xgboost.DMatrix(x, label=2.0 ** np.arange(2 * depth))
    parameters = {"tree_method": "exact", "max_depth": depth, "min_child_weight": 0, "lambda": 0, "nthread": 1}
    booster = xgboost.train(dict(parameters, base_score=0.0), matrix, 1)
    (folder / "xgboost-model").write_bytes(pickle.dumps(booster))
    forest = model_booster.forest(model_booster.document(booster), {})
    assert forest.trees[0].depth >= 25
    return x.astype(np.float32)


def test_deep_trees_are_refused_under_the_old_layout(tmp_path):
    x = chain(tmp_path)
    served = explaining.serve(tmp_path, **explaining.ONEDAL)
    if RELEASE < onedal.LINEAR_LAYOUT:
        assert "MiB for its deep trees, the limit is 256" in served.member.choice.reason
    else:
        assert served.member.choice.engine == "daal4py", served.member.choice.reason
    assert served.predict(x).tobytes() == served.model.predict(xgboost.DMatrix(x)).tobytes()


def test_a_model_above_the_bound_is_refused_with_the_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(onedal, "NODES", 100)
    served = explaining.serve(tmp_path, "regression", **explaining.ONEDAL)
    assert served.member.choice.reason.endswith(" nodes, the limit is 100")


MIB = 2**20


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, None),
        ({"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 3000 kB\n"}, 3000 * 1024),
        (
            {
                "sys/fs/cgroup/memory.max": "5000\n",
                "sys/fs/cgroup/memory.current": "4000\n",
                "sys/fs/cgroup/memory.stat": "anon 1\nactive_file 9\ninactive_file 300\n",
                "proc/meminfo": "MemAvailable: 3000 kB\n",
            },
            1300,
        ),
        (
            {
                "sys/fs/cgroup/memory.max": "max\n",
                "sys/fs/cgroup/memory.current": "4000\n",
                "proc/meminfo": "MemAvailable: 3000 kB\n",
            },
            3000 * 1024,
        ),
        (
            {
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "5000\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "6000\n",
                "sys/fs/cgroup/memory/memory.stat": "inactive_file 5000\ntotal_inactive_file 100\n",
            },
            0,
        ),
        (
            {
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "6000\n",
                "proc/meminfo": "MemAvailable: 3 kB\n",
            },
            3072,
        ),
    ],
    ids=["unknown", "machine", "v2", "v2-without-limit", "v1", "v1-without-limit"],
)
def test_free_memory_is_what_the_container_may_still_take(tmp_path, files, free):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert accelerator.free(str(tmp_path)) == free


@pytest.mark.parametrize(
    ("environment", "count"),
    [
        ({"SAGEMAKER_MODEL_SERVER_WORKERS": "3"}, 3),
        ({"SAGEMAKER_MODEL_SERVER_WORKERS": "many"}, os.cpu_count()),
        ({"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_MODEL_SERVER_WORKERS": "3"}, 1),
        ({"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_NUM_MODEL_WORKERS": "2"}, 2),
    ],
)
def test_every_worker_needs_the_memory_at_once(environment, count, monkeypatch):
    monkeypatch.setattr(accelerator, "free", lambda root: count * accelerator.TIMES * MIB)
    assert accelerator.guard_memory(MIB, environment) == ""
    assert f"may take 20 MiB in each of {count} workers" in accelerator.guard_memory(MIB + 1, environment)


def test_a_model_for_which_memory_is_short_stays_with_the_booster_and_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(accelerator, "free", lambda root: 1000)
    monkeypatch.setattr(model_booster, "forest", lambda *_: pytest.fail("the model was read"))
    served = explaining.serve(tmp_path, "regression", **explaining.ONEDAL)
    assert served.member.choice.engine == "booster"
    assert "0 MiB are free" in served.member.choice.reason


def test_another_machine_stays_with_the_booster(tmp_path, monkeypatch):
    monkeypatch.setattr(onedal.platform, "machine", lambda: "aarch64")
    served = explaining.serve(tmp_path, "regression", **explaining.ONEDAL)
    assert served.member.choice.reason == "oneDAL is not built for aarch64"


def test_requests_are_guarded_and_get_the_boosters_bytes(tmp_path, counted):
    served = explaining.serve(tmp_path, "binary", **explaining.ONEDAL)
    x = zoo.inputs(missing=True, rows=11).astype(np.float32)
    margin = request_data.RecordedDMatrix(x)
    margin.set_base_margin(np.full(11, 0.7, dtype=np.float32))
    unknown = xgboost.DMatrix(x)
    for matrix, engine_answers in [(request_data.RecordedDMatrix(x), True), (margin, False), (unknown, False)]:
        del counted[:]
        predictions = served.predictor.predict(served.model, served.form, matrix, "text/csv")
        assert (11 in counted) == engine_answers
        again = xgboost.DMatrix(x)
        again.set_base_margin(matrix.get_base_margin())
        assert predictions.tobytes() == served.model.predict(again).tobytes()


def test_sparse_requests_are_made_dense_with_absent_cells_missing(tmp_path, counted):
    served = explaining.serve(tmp_path, "missing", **explaining.ONEDAL)
    cells = scipy.sparse.csr_matrix((np.zeros(6, dtype=np.float32), range(6), [0, 6, 6]), shape=(2, 6))
    matrix = request_data.RecordedDMatrix(cells)
    predictions = served.predictor.predict(served.model, served.form, matrix, "text/libsvm")
    assert 2 in counted
    assert predictions.tobytes() == served.model.predict(xgboost.DMatrix(cells)).tobytes()
    assert predictions[0] != predictions[1]  # zeros that are there, and cells that are not


def test_requests_wider_than_the_model_are_the_boosters(tmp_path):
    served = explaining.serve(tmp_path, "regression", **explaining.ONEDAL)
    accelerator = served.member.choice.accelerator
    wide = request_data.RecordedDMatrix(np.zeros((3, 7), dtype=np.float32))
    assert accelerator.rows(wide, accelerator.options) is None
    with pytest.raises(ValueError, match="feature"):
        served.predictor.predict(served.model, served.form, wide, "text/csv")


def test_another_cut_than_the_proved_one_is_the_boosters(tmp_path):
    served = explaining.serve(tmp_path, "regression", **explaining.ONEDAL)
    accelerator = served.member.choice.accelerator
    matrix = request_data.RecordedDMatrix(zoo.inputs(rows=3).astype(np.float32))
    assert accelerator.answer(matrix, accelerator.options) is not None
    assert accelerator.answer(matrix, dict(accelerator.options, output_margin=True)) is None
