"""A feature that is off is not imported: what a worker of the single-model server loads of the overlays."""

from support.overlays import forks

MOST = 14  # modules of a request with SHAP, packages included
PROGRAM = """
import pathlib, sys, tempfile
from support.overlays import zoo
from support.overlays.endpoint import Stage

with Stage(pathlib.Path(tempfile.mkdtemp(dir=sys.argv[1]))) as stage:
    endpoint = stage.start("regression", **dict(pair.split("=") for pair in sys.argv[2:]))
    response = endpoint.post(zoo.csv(zoo.inputs(rows=2)))
    assert response.status_code == 200 and len(response.data.split(b",")) > 4, response.data
    print(*sorted(name for name in sys.modules if name.startswith("xgbpatch_overlays")))
"""


def loaded(folder, *variables):
    completed = forks.run(PROGRAM, str(folder), "XGBPATCH_SHAP_LAYOUT=append", *variables)
    assert completed.returncode == 0, completed.stderr
    return completed.stdout.split()


def test_a_request_with_shap_alone_loads_nothing_of_onedal_or_training(tmp_path):
    modules = loaded(tmp_path, "XGBPATCH_FEATURES=shap")
    print("{} modules: {}".format(len(modules), " ".join(modules)))
    assert "xgbpatch_overlays.shap.values" in modules
    assert not [name for name in modules if "onedal" in name or "training" in name or "probability" in name]
    assert len(modules) <= MOST


def test_the_engine_daal4py_is_loaded_where_it_is_asked_for(tmp_path):
    modules = loaded(tmp_path, "XGBPATCH_FEATURES=shap,daal4py", "XGBPATCH_ENGINE=daal4py")
    assert "xgbpatch_overlays.onedal" in modules
