"""A pickle is opened in a container that can do nothing but answer, and its model is proved like any other."""

import json
import pickle

from support import old_models
from support.commands import xgbpatch
from support.documentation import commands, run_by
from xgbpatch.engine.types import Mount, Run

TRAIN = """
import pickle, numpy, pandas, xgboost
x = pandas.DataFrame(numpy.random.RandomState(0).rand(240, 3).round(4), columns=["length", "height", "weight"])
y = numpy.digitize(x.sum(axis=1), [1.2, 1.7])
model = xgboost.XGBClassifier(n_estimators=4, max_depth=3, n_jobs=1, use_label_encoder=False)
pickle.dump(model.fit(x, y), open("/out/model.pkl", "wb"))
"""
LOOKS_ROUND = """
import json, os, socket  # and not xgboost
found = {"user": os.getuid(), "interfaces": [name for _, name in socket.if_nameindex()], "written": []}
found["capabilities"] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")]
for path in ("/evil", "/xgbpatch/evil", "/opt/ml/evil", "/xgbpatch/model.pickle"):
    try:
        open(path, "ab").close()
        found["written"].append(path)
    except OSError:
        pass
raise SystemExit(json.dumps(found))
"""


class Looks:
    def __reduce__(self):
        return exec, (LOOKS_ROUND,)


def test_a_pickled_wrapper_is_refused_until_asked_for_and_keeps_its_names(engine, base_of, tmp_path, monkeypatch):
    """By the command of docs/convert-model.md, whose image has the name of this machine's."""
    base = base_of("1.5-1")
    mounts = (Mount(tmp_path, "/out"),)
    trained = engine.run(Run(base, ("-c", TRAIN), entrypoint=("python",), mounts=mounts, network="none"))
    assert trained.exit_code == 0, trained.stderr
    ((page,),) = ([*commands(block.script)] for block in run_by(__file__, "docs/convert-model.md"))
    monkeypatch.chdir(tmp_path)
    refused = xgbpatch(*(word for word in page[1 : page.index("--image")] if word != "--unpickle"))
    assert refused.returncode == 2
    assert "--unpickle" in refused.stderr
    completed = xgbpatch(*page[1:-1], base, "--json")
    assert completed.returncode == 0, completed.stderr
    (model,) = json.loads(completed.stdout)["models"]
    assert (model["format"], model["written_by"], model["read_by"]) == ("pickle", "1.5.2", "1.5.2")
    assert model["reached"] == model["leaves"] > 40
    assert "XGBClassifier" in model["notes"][0]
    learner = json.loads((tmp_path / page[3]).read_text())["learner"]
    assert learner["feature_names"] == ["length", "height", "weight"]


def test_the_code_of_a_pickle_can_do_nothing_but_answer(base_of, tmp_path):
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Looks(), protocol=4))
    completed = xgbpatch(
        "convert-model",
        str(tmp_path / "model.pkl"),
        str(tmp_path / "out.json"),
        "--unpickle",
        "--image",
        base_of("1.5-1"),
    )
    assert completed.returncode == 17, completed.stderr
    document = json.loads(completed.stderr[completed.stderr.index("{") : completed.stderr.index("}") + 1])
    assert document == {"user": 65534, "interfaces": ["lo"], "written": [], "capabilities": ["0" * 16]}
    assert not (tmp_path / "out.json").exists()


def test_a_binary_model_may_be_read_in_a_container_too(base_of, tmp_path):
    model = old_models.write("1.5.2", tmp_path, "binary")["binary"]
    completed = xgbpatch(
        "convert-model", str(model), str(tmp_path / "model.ubj"), "--image", base_of("1.5-1"), "--json"
    )
    assert completed.returncode == 0, completed.stderr
    assert json.loads(completed.stdout)["models"][0]["read_by"] == "1.5.2"
