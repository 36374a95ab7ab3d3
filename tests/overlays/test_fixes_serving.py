"""Fixes of serving: each bug is seen on the base first, then gone; where the base has none, the fix steps aside."""

import inspect
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import xgboost
from sagemaker_containers import _recordio
from sagemaker_containers.record_pb2 import Record
from sagemaker_xgboost_container import encoder, serving
from sagemaker_xgboost_container.algorithm_mode import handler_service, serve, serve_utils
from sagemaker_xgboost_container.mms_patch import mms_transformer
from sagemaker_xgboost_container.mms_patch import model_server as starting
from test_multi_model import OURS, Worker
from test_serve import gunicorn
from xgbpatch_overlays import fixes as overlays_fixes

from support.overlays import forks, zoo

RECORDIO = "application/x-recordio-protobuf"
LINES = "application/jsonlines"
NEW = zoo.XGBOOST >= (3, 0)
HANDLER = handler_service.HandlerService.DefaultXGBoostAlgoModeInferenceHandler
TOUCHED = (serve_utils, encoder, serve, serving.server, sys.modules[serving.server.start.__module__])
TOUCHED += (sys.modules[starting._retrieve_mms_server_process.__module__],)


@pytest.fixture(autouse=True)
def _base_afterwards(server):
    """Every name that a fix may take is the base's again afterwards."""
    classes = (mms_transformer.XGBMMSTransformer, HANDLER, handler_service.HandlerService)
    before = [(owner, dict(vars(owner))) for owner in (*TOUCHED, *classes)]
    decoders = dict(encoder._dmatrix_decoders_map)
    yield
    encoder._dmatrix_decoders_map.update(decoders)
    for owner, names in before:
        for name in set(vars(owner)) - set(names):
            delattr(owner, name)
        for name, value in names.items():
            if vars(owner)[name] is not value:
                setattr(owner, name, value)


def not_needed(name):
    reason, _ = overlays_fixes.functions(name)
    return reason()


def needed(name, stage=overlays_fixes.SERVING):
    """Install the fix as the image does; whether it was needed."""
    reason = not_needed(name)
    overlays_fixes.install([name], stage)
    return not reason


def frames(body):
    """The payloads of recordio frames."""
    payloads, rest = [], body
    while rest:
        magic, length = np.frombuffer(rest[:8], dtype="<u4")
        assert magic == _recordio._kmagic
        payloads.append(rest[8 : 8 + length])
        rest = rest[8 + (length + 3) // 4 * 4 :]
    return payloads


def labels(payload):
    record = Record()
    record.ParseFromString(payload)
    return {key: list(value.float32_tensor.values) for key, value in record.label.items()}


def one_based(x):
    """`x` as training data in libsvm are usually written: counted from 1, with a label; zeros are left out."""
    return "\n".join("1 " + " ".join(f"{i + 1}:{float(v)!r}" for i, v in enumerate(row) if v) for row in x)


@pytest.fixture
def trained_on_one_based(tmp_path):
    """A model of the columns that training sees in such a file: column 0 is empty."""
    x = zoo.inputs()
    y = zoo.ZOO["regression"].labels(np.random.RandomState(5), x)
    shifted = np.hstack([np.full((len(x), 1), np.nan), x])
    booster = xgboost.train({"max_depth": 4, "nthread": 1}, xgboost.DMatrix(shifted, label=y), 8)
    booster.save_model(str(tmp_path / "one-based"))
    return tmp_path / "one-based", x, booster.predict(xgboost.DMatrix(shifted))


def scores(response):
    assert response.status_code == 200, response.data
    return np.array([float(line) for line in response.data.decode().split()], dtype=np.float32)


def test_libsvm_skew(server, trained_on_one_based):
    path, x, truth = trained_on_one_based
    endpoint = server(path)

    def ask():
        return scores(endpoint.post(one_based(x), content_type="text/libsvm"))

    wrong = bool(np.any(ask() != truth))
    assert wrong == (zoo.XGBOOST >= (3, 2))
    assert needed("libsvm-skew") == wrong
    assert np.array_equal(ask(), truth)


BODIES = {
    "zero-based": "0 0:1.5 2:3\n1 1:2",
    "label only": "1\n0",
    "nothing": "hello",
    "not a number": "0 1:x",
    "blank line": "0 0:1\n\n0 0:2",
    "labels at the end": "0 0:1\n1\n1",
    "no labels": "0:1 1:2\n0:3",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_libsvm_skew_changes_nothing_else(server, body):
    endpoint = server("regression")
    before = endpoint.post(body, content_type="text/libsvm")
    needed("libsvm-skew")
    after = endpoint.post(body, content_type="text/libsvm")
    assert (after.status_code, after.data) == (before.status_code, before.data)


def test_libsvm_skew_in_script_mode():
    body = b"1 1:0.5 3:2\n0 2:4"
    wrong = encoder.decode(body, "text/libsvm").num_col() == 3
    assert wrong == (zoo.XGBOOST >= (3, 2))
    assert needed("libsvm-skew") == wrong
    matrix = encoder.decode(body, "text/libsvm")
    assert (matrix.num_row(), matrix.num_col()) == (2, 4)
    assert encoder.decode(b"1 0:5 3:2", "text/libsvm").num_col() == 4


def members(tmp_path, name, count):
    """Paths of `count` models that do not agree, and the class that most of them choose: of equals the smallest."""
    x, specimen, paths, votes = zoo.inputs(rows=60, seed=9), zoo.ZOO[name], [], []

    def labels(random, x):  # half of them wrong, others for each member
        return np.where(
            np.arange(len(x)) % 2, specimen.labels(random, x), chance.permutation(specimen.labels(random, x))
        )

    for number in range(count):
        chance = np.random.RandomState(number)
        booster = zoo.train(replace(specimen, labels=labels))
        paths.append(tmp_path / f"member-{number}")
        booster.save_model(str(paths[-1]))
        votes.append(booster.predict(xgboost.DMatrix(x)))
    counts = [Counter(column).most_common() for column in np.transpose(votes)]
    truth = [min(label for label, count in of_row if count == of_row[0][1]) for of_row in counts]
    assert any(len(of_row) > 1 and of_row[0][1] == of_row[1][1] for of_row in counts) or (name, count) == ("hinge", 3)
    assert all(np.any(np.array(truth) != vote) for vote in votes)
    return paths, x, truth


@pytest.mark.parametrize("name", ["softmax", "hinge"])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_ensemble_vote(server, tmp_path, name, count):
    paths, x, truth = members(tmp_path, name, count)
    endpoint = server(*paths)
    wrong = endpoint.post(zoo.csv(x)).status_code == 500
    assert wrong == NEW
    assert needed("ensemble-vote") == wrong
    assert list(scores(endpoint.post(zoo.csv(x)))) == truth


def test_ensemble_vote_in_selectable_inference(server, tmp_path):
    paths, x, truth = members(tmp_path, "softmax", 3)
    endpoint = server(*paths, SAGEMAKER_INFERENCE_OUTPUT="predicted_label")
    assert (endpoint.post(zoo.csv(x)).status_code == 500) == NEW
    needed("ensemble-vote")
    assert [float(line) for line in endpoint.post(zoo.csv(x)).data.decode().split("\n")] == truth


def test_ensemble_vote_leaves_means_alone(server):
    endpoint = server("softprob", "softprob")
    before = endpoint.post(zoo.csv(zoo.inputs(rows=3))).data
    needed("ensemble-vote")
    assert endpoint.post(zoo.csv(zoo.inputs(rows=3))).data == before


@pytest.mark.parametrize("name", ["binary", "softprob"])
def test_jsonlines_accept(server, name):
    endpoint, body = server(name), zoo.csv(zoo.inputs(rows=3))
    expected = json.loads(endpoint.post(body, accept="application/json").data)["predictions"]
    assert [endpoint.post(body, accept=kind).status_code for kind in (LINES, RECORDIO)] == [500, 500]
    assert needed("jsonlines-accept")
    lines = endpoint.post(body, accept=LINES)
    assert (lines.status_code, lines.mimetype) == (200, LINES)
    assert [json.loads(line) for line in lines.data.decode().splitlines()] == expected
    records = endpoint.post(body, accept=RECORDIO)
    assert (records.status_code, records.mimetype) == (200, RECORDIO)
    scores = [labels(payload)["score"] for payload in frames(records.data)]
    assert np.array_equal(np.squeeze(scores), np.float32([entry["score"] for entry in expected]))


def test_jsonlines_accept_changes_no_other_type(server):
    endpoint, body = server("binary"), zoo.csv(zoo.inputs(rows=3))
    kinds = ["text/csv", "application/json", "text/plain", "*/*", ""]
    before = [(answer.status_code, answer.data) for answer in (endpoint.post(body, accept=kind) for kind in kinds)]
    needed("jsonlines-accept")
    assert [
        (answer.status_code, answer.data) for answer in (endpoint.post(body, accept=kind) for kind in kinds)
    ] == before


def test_recordio_growth(server):
    endpoint = server("regression", SAGEMAKER_INFERENCE_OUTPUT="predicted_score")
    body = zoo.csv(zoo.inputs(rows=20))
    grown = frames(endpoint.post(body, accept=RECORDIO).data)
    assert [len(payload) for payload in grown] == [len(grown[0]) * (n + 1) for n in range(20)]
    assert needed("recordio-growth")
    records = frames(endpoint.post(body, accept=RECORDIO).data)
    assert [labels(payload) for payload in records] == [labels(payload) for payload in grown]
    assert {len(payload) for payload in records} == {len(grown[0])}


@pytest.fixture
def model_server(server, tmp_path):
    """`model_server(*fixes, model=...)`: a worker on a model of the zoo, or on several, or on paths."""

    def start(*fixes, model="regression"):
        folder = tmp_path / ("mme-" + "-".join(fixes or ("base",)))
        folder.mkdir()
        for number, member in enumerate([model] if isinstance(model, str) else model):
            if isinstance(member, str):
                zoo.save(zoo.ZOO[member], folder, f"model-{number}")
            else:
                shutil.copy(str(member), str(folder))
        overlays_fixes.install(fixes, overlays_fixes.MODEL_SERVER)
        return Worker(folder, OURS)

    return start


@pytest.mark.parametrize("name", ["softmax", "hinge"])
def test_mme_ensemble_vote(model_server, tmp_path, name):
    paths, x, truth = members(tmp_path, name, 2)
    as_csv = {"body": zoo.csv(x), "accept": "text/csv"}
    status, means = model_server(model=paths).post(**as_csv)
    assert (status, "0.5" in means or "1.5" in means) == (200, True)
    assert not_needed("mme-ensemble-vote") == ""
    status, votes = model_server("mme-ensemble-vote", model=paths).post(**as_csv)
    assert (status, [float(vote) for vote in votes.split(",")]) == (200, truth)


@pytest.mark.parametrize("model", ["softmax", ("softprob", "softprob")])
def test_mme_ensemble_vote_leaves_other_answers_alone(model_server, model):
    body = zoo.csv(zoo.inputs(rows=3))
    plain = model_server(model=model).post(body)
    assert model_server("mme-ensemble-vote", model=model).post(body) == plain


ERRORS = [
    pytest.param({"body": ""}, 204, "", id="empty"),
    pytest.param({"body": "a,b"}, 415, "Loading csv data failed", id="not csv"),
    pytest.param(
        {"body": "1,2", "content_type": "text/plain"}, 415, "text/plain is not an accepted", id="unknown type"
    ),
    pytest.param({"body": "1,2", "content_type": "application/x-parquet"}, 415, "not supported", id="parquet"),
    pytest.param({"body": ",".join("1" * 9)}, 400, "feature", id="too wide"),
    pytest.param({"body": "1,2,3,4,5,6", "accept": "text/plain"}, 406, "text/plain", id="unknown accept"),
    pytest.param({"body": "1,2,3,4,5,6", "accept": LINES}, 406, LINES, id="JSON Lines, as jsonlines-accept says"),
]


@pytest.mark.parametrize(("request_", "status", "message"), ERRORS)
def test_mme_errors(model_server, request_, status, message):
    assert model_server().post(**request_)[0] == 503
    assert not_needed("mme-errors") == ""
    code, text = model_server("mme-errors").post(**request_)
    assert code == status
    assert message in text
    assert text or not message
    assert not_needed("mme-errors")


def test_mme_errors_of_a_model_that_does_not_load(model_server):
    assert model_server(model=()).post("1,2")[0] == 503
    status, text = model_server("mme-errors", model=()).post("1,2")
    assert (status, text.count("Unable to load model")) == (500, 1)


def test_mme_errors_show_no_path_of_the_container(model_server, tmp_path):
    broken = tmp_path / "no-model"
    broken.write_text("nothing that loads")
    status, text = model_server("mme-errors", model=[broken]).post("1,2")
    assert (status, str(tmp_path) in text) == (500, False)
    assert not re.search(r"(?<![\w.:/-])/\w+/", text), text


def test_mme_errors_leaves_answers_alone(model_server):
    body = zoo.csv(zoo.inputs(rows=3))
    plain = model_server().post(body)
    assert plain[0] == 200
    assert model_server("mme-errors").post(body) == plain


class Bomb:
    """A model file that creates a file of the name it holds when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_refused(tmp_path, protocol):
    folder, mark = tmp_path / "model", tmp_path / "mark"
    folder.mkdir()
    (folder / "model").write_bytes(pickle.dumps(Bomb(str(mark)), protocol))
    with pytest.raises(Exception):  # noqa: B017, PT011  the base fails on what is no booster, after it has run it
        serve_utils.get_loaded_booster(str(folder), True)
    assert mark.exists()
    mark.unlink()
    assert needed("pickle-refused", overlays_fixes.LOADING)
    with pytest.raises(RuntimeError, match=r"is a pickle.*save_model"):
        serve_utils.get_loaded_booster(str(folder), True)
    assert not mark.exists()


def test_pickle_refused_loads_native_models_and_ensembles(server):
    endpoint, body = server("binary", "binary"), zoo.csv(zoo.inputs(rows=3))
    plain = endpoint.post(body).data
    needed("pickle-refused", overlays_fixes.LOADING)
    serve.ScoringService.booster = None
    assert endpoint.post(body).data == plain


def test_pickle_refused_on_the_model_server(model_server, caplog):
    """When it loads the model: POST /models fails, and the log says why."""
    assert model_server(model="pickled").post("1,2,3,4,5,6")[0] == 200
    with pytest.raises(SystemExit):
        model_server("pickle-refused", "mme-errors", model="pickled")
    (message,) = [record.getMessage() for record in caplog.records if "is a pickle" in record.getMessage()]
    assert message.startswith("The model is not loaded: the model file")
    assert 'save_model("model.json")' in message


def test_pickle_refused_before_the_base_loads_the_model_whatever_else_is_fixed(tmp_path):
    folder, mark = tmp_path / "model", tmp_path / "mark"
    folder.mkdir()
    (folder / "xgboost-model").write_bytes(pickle.dumps(Bomb(str(mark))))
    fixes = ",".join(sorted(overlays_fixes.FIXES))
    with pytest.raises(RuntimeError, match="is a pickle"), gunicorn("ours", folder, XGBPATCH_FIXES=fixes):
        pass
    assert not mark.exists()


def test_mme_start(monkeypatch):
    """The search beside a launcher that has ended and that nobody has waited for; once, and not for ten seconds."""
    launcher = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, launcher.pid, os.WEXITED | os.WNOWAIT)
    java = SimpleNamespace(cmdline=lambda: [starting.MMS_NAMESPACE], status=lambda: psutil.STATUS_SLEEPING)
    monkeypatch.setattr(psutil, "process_iter", lambda: iter([psutil.Process(launcher.pid), java]))
    search = inspect.unwrap(starting._retrieve_mms_server_process)
    try:
        if zoo.XGBOOST >= (3, 2):  # its psutil raises what older ones pass over
            with pytest.raises(psutil.ZombieProcess):
                search()
        assert needed("mme-start", overlays_fixes.COMMAND)
        assert search() is java
    finally:
        launcher.wait()


def test_mme_start_steps_aside_where_the_base_passes_over_processes_that_have_ended(monkeypatch):
    def search():
        """`for process in psutil.process_iter(): if process.status() == psutil.STATUS_ZOMBIE: continue`"""

    monkeypatch.setattr(starting, "_retrieve_mms_server_process", search)
    assert not_needed("mme-start") == "the base passes over processes that have ended"


SERVER = """
import subprocess, sys
from sagemaker_xgboost_container import serving
module = sys.modules[serving.server.start.__module__]
class Children(object):
    def __getattr__(self, name): return getattr(subprocess, name)
    def Popen(self, command, **more): return subprocess.Popen([sys.executable, "-c", {child!r}])
module.subprocess = Children()
from xgbpatch_overlays.bin_serve import main
sys.exit(main())
"""


def served(monkeypatch, child, fixes):
    """`serve` in a process of its own, with `child` in the place of gunicorn."""
    monkeypatch.setenv("SAGEMAKER_USE_NGINX", "false")
    monkeypatch.setenv("SAGEMAKER_SERVING_MODULE", "xgbpatch_overlays.serve:main")
    monkeypatch.setenv("XGBPATCH_FIXES", fixes)
    return forks.run(SERVER.format(child=child))


NO_WORKER = "raise SystemExit(3)"


def test_serve_exit_code(monkeypatch):
    assert not_needed("serve-exit-code") == ""
    base, fixed = (served(monkeypatch, NO_WORKER, fixes) for fixes in ("", "serve-exit-code"))
    assert base.returncode == 0, base.stderr
    assert fixed.returncode == 3
    assert "could not boot a worker" in fixed.stderr


@pytest.mark.parametrize(
    ("child", "code"), [("import os; os.kill(os.getpid(), 9)", 137), ("pass", 0)], ids=["killed", "stopped"]
)
def test_serve_exit_code_of_other_ends(monkeypatch, child, code):
    assert served(monkeypatch, child, "serve-exit-code").returncode == code


def test_a_fix_that_is_not_needed_steps_aside_and_says_so(caplog):
    caplog.set_level("INFO")
    overlays_fixes.install(["recordio-growth"], overlays_fixes.SERVING)
    overlays_fixes.install(["recordio-growth"], overlays_fixes.SERVING)
    assert [record.getMessage() for record in caplog.records if record.name == "xgbpatch_overlays.fixes"] == [
        "Fix recordio-growth: installed",
        "Fix recordio-growth steps aside: the base writes each record once",
    ]
