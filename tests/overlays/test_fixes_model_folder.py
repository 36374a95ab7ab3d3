"""Fixes of model folders: what is a model and what is none, and what a start says that finds none it can load."""

import errno
import json
import logging
import os
import pickle
import re
import shutil
import tempfile
import threading
import zipfile

import numpy as np
import pytest
import xgboost
from sagemaker_xgboost_container.algorithm_mode import serve, serve_utils
from test_fixes_serving import Bomb, _base_afterwards, model_server, needed, not_needed  # noqa: F401 - fixtures
from test_serve import gunicorn
from test_training_version_guard import signed
from xgbpatch_overlays import fixes as overlays_fixes
from xgbpatch_overlays.fixes import _loading
from xgbpatch_overlays.model import files, version_guard

from support.overlays import zoo

LOADING = overlays_fixes.LOADING
ROWS = np.random.RandomState(0).rand(200, 3).round(4)
FORMS = {"json": "a.json", "binary": "a.bin", "pickle": "a.pkl", **({"ubj": "a.ubj"} if zoo.XGBOOST >= (1, 6) else {})}
if zoo.XGBOOST >= (3, 1):
    del FORMS["binary"]
ESTIMATOR = b"\x80\x02cxgboost.sklearn\nXGBRegressor\n)\x81}X\1\0\0\0aK\1sb."
PACK = "tar -czf model.tar.gz -C FOLDER xgboost-model"


def trained(rounds=5):
    return xgboost.train({"max_depth": 3, "nthread": 1}, xgboost.DMatrix(ROWS, label=ROWS[:, 0] - ROWS[:, 1]), rounds)


def written(path, booster=None, form="json"):
    """A model of that form at `path`, whatever its name."""
    booster = booster or trained()
    if form == "pickle":
        path.write_bytes(pickle.dumps(booster, protocol=4))
    else:
        with tempfile.TemporaryDirectory() as folder:
            booster.save_model(os.path.join(folder, FORMS[form]))
            shutil.copy(os.path.join(folder, FORMS[form]), str(path))
    return path


def others(folder):
    """What people pack beside a model; returns the names that a log should name."""
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "inference.py").write_text("import xgboost\n")
    (folder / "__MACOSX").mkdir()
    named = {
        "requirements.txt": b"xgboost==1.5.2\n",
        "packages": b"catboost\nnumpy\n",  # begins as a pickle of protocol 0 does
        "metadata.yaml": b"name: abalone\n",
        "README": b"The model of last week",
        "inference.py": b'import json\njson.load(open("m"))["learner"]\n',
        "metrics.json": b'{"rmse": 0.5, "version": [9, 9, 9]}',
        "model-config.json": trained(1).save_config().encode(),
        "dump.json": "[{}]".format(",".join(trained(1).get_dump(dump_format="json"))).encode(),
        "model.json": b'{"name": "abalone", "version": 3}',
        "dump.txt": "\n".join(trained(1).get_dump()).encode(),
        "train.csv": b"1,2,3\n4,5,6\n",
        "encoder.pkl": pickle.dumps({"a": 1}),
        "bundle.pkl": pickle.dumps({"model": trained(1), "columns": ["a"]}),
        "classifier.pkl": ESTIMATOR,
        "weights.npy": b"\x93NUMPY\x01\x00v\x00",
        "model.tar.gz": b"\x1f\x8b\x08\x00",
        "_SUCCESS": b"",
        ".DS_Store": b"\0\0\0\1Bud1\0",
        "._xgboost-model": b"\0\5\x16\7\0\2",
        "notes.txt": "Öl: 3 €\n".encode("utf-16"),
    }
    for name, content in named.items():
        (folder / name).write_bytes(content)
    with zipfile.ZipFile(str(folder / ".xgbpatch.zip"), "w") as archive:
        archive.writestr("record.json", "{}")
    return set(named)


def passed_over(caplog):
    """The names in the one line of the log about them."""
    (line,) = [record.getMessage() for record in caplog.records if "because they are no models" in record.getMessage()]
    return line


def predicted(model):
    return model.predict(xgboost.DMatrix(ROWS), validate_features=False)


@pytest.mark.parametrize("form", FORMS)
def test_model_files(tmp_path, caplog, form):
    booster = trained()
    written(tmp_path / "xgboost-model", booster, form)
    names = others(tmp_path)
    with pytest.raises(Exception):  # noqa: B017, PT011  the base loads every file, in the order of the file system
        serve_utils.get_loaded_booster(str(tmp_path), True)
    assert needed("model-files", LOADING)
    model, _ = serve_utils.get_loaded_booster(str(tmp_path), True)
    assert np.array_equal(predicted(model), predicted(booster))
    contents = files.contents(str(tmp_path))
    assert (set(contents.models), set(contents.others)) == ({"xgboost-model"}, names | {".xgbpatch.zip"})
    line = passed_over(caplog)
    assert ".xgbpatch.zip" not in line
    assert f"and {len(names) - 10} more" in line


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["model.json", "abalone-2026", "model.ubj", "classifier.txt"])
def test_a_model_is_told_by_its_content(tmp_path, form, name):
    written(tmp_path / name, form=form)
    (tmp_path / "requirements.txt").write_text("xgboost")
    assert files.contents(str(tmp_path)) == files.Contents((name,), ("requirements.txt",))


def test_a_model_that_another_tool_wrote_anew_is_one(tmp_path):
    document = json.loads(written(tmp_path / "plain").read_text())
    (tmp_path / "indented").write_text(json.dumps(document, indent=2))
    (tmp_path / "turned").write_text(json.dumps({name: document[name] for name in ("version", "learner")}))
    (tmp_path / "more").write_text(json.dumps(dict({"made by": "me"}, **document)))
    assert set(files.contents(str(tmp_path)).models) == {"plain", "indented", "turned", "more"}


def test_an_ensemble_stays_one_and_without_it_one_member_is_served(server, tmp_path, caplog):
    members = [trained(rounds) for rounds in (2, 5)]
    folder = tmp_path / "model"
    names = others(folder)
    for number, member in enumerate(members):
        written(folder / f"xgboost-model-{number}", member)
    needed("model-files", LOADING)
    both, _ = serve_utils.get_loaded_booster(str(folder), True)
    assert {tuple(predicted(each)) for each in both} == {tuple(predicted(each)) for each in members}
    one, _ = serve_utils.get_loaded_booster(str(folder), False)
    assert tuple(predicted(one)) in {tuple(predicted(each)) for each in members}
    assert len(names) == len(files.contents(str(folder)).others) - 1


def test_a_multi_model_endpoint_serves_the_model(model_server, tmp_path):  # noqa: F811
    paths = [written(tmp_path / "xgboost-model"), tmp_path / "metadata.yaml"]
    paths[1].write_text("name: abalone")
    body = zoo.csv(ROWS[:3])
    assert model_server("mme-errors", model=paths).post(body)[0] == 500
    status, text = model_server("model-files", model=paths).post(body)
    assert (status, np.float32(json.loads(text)).tolist()) == (200, predicted(trained())[:3].tolist())


def test_where_nothing_is_passed_over_nothing_is_said(tmp_path, caplog):
    written(tmp_path / "xgboost-model")
    (tmp_path / ".xgbpatch.zip").write_bytes(b"PK")
    needed("model-files", LOADING)
    caplog.clear()
    serve_utils.get_loaded_booster(str(tmp_path), True)
    assert "no models" not in caplog.text


DAMAGED = {
    "empty": b"",
    "text": b"hello",
    "cut json": b'{"learner":{"attributes":{},"gradient_bo',
    "cut ubj": b"{L\0\0\0\0\0\0\0\x07learner{L\0\0",
    "document": b'{"version":[9,1,0]}',
    "no head": b'split_conditions":[1,2],"learner_model_param":{"base_score":"5E-1"}',
    "junk": b"\x07\x01\0\0abc\xff",
    "archive": b"\x1f\x8b\x08\x00abc",
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_model_is_not_passed_over(tmp_path, content):
    """By its name where the content says nothing, and as the next of an ensemble."""
    needed("model-files", LOADING)
    for names in (["xgboost-model"], ["member1", "member2"]):
        folder = tmp_path / names[0]
        folder.mkdir()
        for name in names[:-1]:
            written(folder / name)
        (folder / names[-1]).write_bytes(content)
        (folder / "requirements.txt").write_text("xgboost")
        assert set(files.contents(str(folder)).models) == set(names)
        with pytest.raises(RuntimeError):
            serve_utils.get_loaded_booster(str(folder), True)


def test_a_pickle_of_something_else_is_passed_over_and_not_loaded(tmp_path):
    folder, mark = tmp_path / "model", tmp_path / "mark"
    folder.mkdir()
    written(folder / "xgboost-model")
    (folder / "encoder.pkl").write_bytes(pickle.dumps(Bomb(str(mark)), 2))
    for name in ("pickle-refused", "model-files"):
        needed(name, LOADING)
    serve_utils.get_loaded_booster(str(folder), True)
    assert not mark.exists()


def test_the_version_of_other_files_does_not_count(tmp_path):
    written(tmp_path / "xgboost-model")
    (tmp_path / "metrics.json").write_text('{"version":[9,9,9]}')
    version_guard.check(str(tmp_path))


def test_model_files_steps_aside_where_the_base_looks_at_names(monkeypatch):
    listing = (
        'for name in os.listdir(folder):\n        if name.endswith(".json"):\n            yield name\n\ndef other():'
    )
    monkeypatch.setattr(_loading, "source", lambda: listing)
    assert not_needed("model-files") == "the base tells models from other files by itself"


# --- model-missing --------------------------------------------------------------------------------------------------


def _missing(folder):
    shutil.rmtree(str(folder))


def _down(folder):
    (folder / "model").mkdir()
    written(folder / "model" / "xgboost-model")


def _only_others(folder):
    (folder / "requirements.txt").write_text("xgboost")
    (folder / "code").mkdir()


def _cut(folder):
    content = written(folder / "xgboost-model").read_bytes()
    (folder / "xgboost-model").write_bytes(content[: len(content) // 2])


def _holding(content):
    def make(folder):
        (folder / "xgboost-model").write_bytes(content)

    return make


def _misshapen(folder, version=None):
    """Whole, and one number stands in the place of a list."""
    content = (
        written(folder / "xgboost-model").read_bytes().replace(b'"split_conditions":[', b'"split_conditions":3,"x":[')
    )
    (folder / "xgboost-model").write_bytes(signed(content, version) if version else content)


def _sealed(folder):
    written(folder / "xgboost-model").chmod(0)


KINDS = {
    "no folder": (_missing, r'The model folder "{folder}" cannot be read: No such file or directory\. '),
    "empty": (lambda folder: None, r'There is no model in "{folder}", which holds nothing\. '),
    "one folder down": (
        _down,
        r'which holds "model/"\. A model .* the top alone, and "model/xgboost-model" is deeper\. ',
    ),
    "only others": (_only_others, r'which holds "code/", "requirements\.txt"\. '),
    "cut": (_cut, r'The model "{folder}/xgboost-model" cannot be loaded: it is a JSON model of \d+ bytes that breaks'),
    "text": (_holding(b"hello"), r"begins with text that no model of xgboost begins with: \"hello\"\."),
    "empty file": (_holding(b""), r'xgboost-model" cannot be loaded: it is empty\.'),
    "dump": (
        _holding(b"booster[0]:\n0:[f0<1]"),
        r'it is a dump for people, .*: write it with save_model\("model\.json"\)',
    ),
    "archive": (_holding(b"\x1f\x8b\x08"), r"it is an archive \(gzip\), not a model: pack the model itself"),
    "misshapen": (_misshapen, r"cannot be loaded: xgboost [\d.]+ says: .*Invalid cast"),
    "sealed": (_sealed, r'xgboost-model" cannot be loaded: it cannot be read: Permission denied\.'),
}


@pytest.mark.parametrize(("make", "message"), KINDS.values(), ids=KINDS)
def test_model_missing(tmp_path, monkeypatch, make, message):
    folder = tmp_path / "model"
    folder.mkdir()
    make(folder)
    assert needed("model-missing", LOADING)
    if make is _sealed:
        monkeypatch.setattr(files, "open", _refused, raising=False)  # root, who runs the tests, reads everything
    with pytest.raises(files.ModelRefused) as refused:
        serve_utils.get_loaded_booster(str(folder), True)
    assert re.search(message.replace("{folder}", re.escape(str(folder))), str(refused.value)), str(refused.value)
    assert PACK in str(refused.value)
    assert 'save_model("model.json")' in str(refused.value)
    assert "Stack trace" not in str(refused.value)
    assert "\n" not in str(refused.value)


def _refused(path, *_):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def test_what_a_folder_holds_is_bounded_and_on_one_line(tmp_path):
    for number in range(2000):
        (tmp_path / f"file\n{number}.txt").touch()
    needed("model-missing", LOADING)
    with pytest.raises(files.ModelRefused) as refused:
        serve_utils.get_loaded_booster(str(tmp_path), True)
    assert "and 1990 more" in str(refused.value)
    assert len(str(refused.value)) < 1000
    assert "\n" not in str(refused.value)


def test_model_files_alone_says_that_nothing_is_left(tmp_path):
    _only_others(tmp_path)
    needed("model-files", LOADING)
    with pytest.raises(files.ModelRefused, match=re.escape(PACK)):
        serve_utils.get_loaded_booster(str(tmp_path), True)


def test_ping_says_it_where_it_loads_the_model(server, tmp_path, monkeypatch):
    endpoint = server("regression")
    needed("model-missing", LOADING)
    monkeypatch.setattr(serve.ScoringService, "booster", None)
    monkeypatch.setattr(serve.ScoringService, "MODEL_PATH", str(tmp_path / "model"))
    (tmp_path / "model").mkdir()
    answer = endpoint.ping()
    assert (answer.status_code, PACK in answer.data.decode()) == (500, True)
    assert str(tmp_path) not in answer.data.decode()


def test_the_log_of_a_worker_that_finds_no_model_says_so_last(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    _down(folder)
    with pytest.raises(RuntimeError) as caught, gunicorn("ours", folder, XGBPATCH_FIXES="model-files,model-missing"):
        pass
    last = [line for line in str(caught.value).splitlines() if "ModelRefused" in line][-1]
    assert '"model/xgboost-model" is deeper' in last


@pytest.mark.parametrize("name", ["model-missing", "model-files"])
def test_a_multi_model_worker_ends_when_it_loads_a_refused_model(model_server, tmp_path, caplog, name):  # noqa: F811
    """So that POST /models fails; the base's answers 200, and its requests fail."""
    other = tmp_path / "requirements.txt"
    other.write_text("xgboost")
    model = {"model-missing": (), "model-files": [other]}[name]
    with pytest.raises(SystemExit):
        model_server(name, "mme-errors", model=model)
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [line.startswith("The model is not loaded: ") for line in messages] == [True]
    assert messages[0].count("Unable to load model") == 0


def test_a_worker_that_ends_waits_until_the_model_server_has_read_why():
    """It drops what it has not read when the worker is gone."""
    reader, writer = os.pipe()
    stderr = os.dup(2)
    os.dup2(writer, 2)
    try:
        os.write(2, b"why")
        waiting = threading.Thread(target=_loading._wait_until_read)
        waiting.start()
        waiting.join(1)
        assert waiting.is_alive()
        os.read(reader, 100)
        waiting.join(60)
        assert not waiting.is_alive()
    finally:
        os.dup2(stderr, 2)
        for each in (reader, writer, stderr):
            os.close(each)
