"""A model of a newer xgboost is refused before it is loaded; with every other one the answers are the base's."""

import json
import pickle
import re

import pytest
import xgboost
from sagemaker_xgboost_container.algorithm_mode import serve_utils
from test_multi_model import BASES, OURS, Worker, worker  # noqa: F401 - a fixture
from test_serve import answer, gunicorn
from xgbpatch_overlays.model import version_guard

from support.overlays import zoo

XGBOOST = tuple(int(part) for part in xgboost.__version__.split(".")[:2])
TRAINING = {"XGBPATCH_FEATURES": "training"}
FORMS = ["json", "pickle"] + (["ubj"] if XGBOOST >= (1, 6) else [])
REFUSED = "was trained with xgboost 9.1, and this image has " + re.escape(xgboost.__version__)


def model(folder, form, version=None, attribute=""):
    """The file of a model in that form; with `version`, as that xgboost would have signed it."""
    booster = trained()
    if attribute:
        booster.set_attr(note=attribute)
    path = folder / "xgboost-model"
    if form == "pickle":
        path.write_bytes(pickle.dumps(booster, protocol=4))
    else:
        booster.save_model(str(folder / ("written." + form)))
        (folder / ("written." + form)).rename(path)
    if version is not None:
        path.write_bytes(signed(path.read_bytes(), version))
    return path


def trained():
    x = zoo.inputs(rows=40)
    return xgboost.train({"objective": "binary:logistic", "max_depth": 2}, xgboost.DMatrix(x, label=x[:, 0] > 0), 3)


def signed(content, version):
    """`content` with another version at its end: every place that xgboost itself writes it to."""
    own = [int(part) for part in xgboost.__version__.split(".")]
    pairs = [
        ("[{},{},{}]".format(*own).encode(), "[{},{},{}]".format(*version).encode()),
        (b"i%ci%ci%c}" % tuple(own), b"i%ci%ci%c}" % tuple(version)),
    ]
    assert any(old in content for old, _ in pairs)
    for old, new in pairs:
        content = content.replace(old, new)
    return content


@pytest.mark.parametrize("form", FORMS)
def test_the_version_is_read_from_the_end_of_the_file(tmp_path, form):
    assert version_guard.of_file(str(model(tmp_path, form))) == XGBOOST


@pytest.mark.parametrize("form", FORMS)
def test_a_text_in_the_model_is_no_version(tmp_path, form):
    assert version_guard.of_file(str(model(tmp_path, form, attribute='{"version":[9,9,9]}'))) == XGBOOST


@pytest.mark.parametrize("form", FORMS)
def test_a_newer_file_is_refused(tmp_path, form):
    model(tmp_path, form, (9, 1, 0))
    with pytest.raises(version_guard.NewerModelError, match=REFUSED):
        version_guard.check(str(tmp_path))


@pytest.mark.parametrize("version", [(0, 9, 0), (1, 0, 0), (*XGBOOST, 99)], ids=str)
def test_a_file_that_is_not_newer_is_the_bases_to_judge(tmp_path, version):
    path = tmp_path / "model.json"
    path.write_text('{{"learner":{{}},"version":[{},{},{}]}}\n'.format(*version))
    version_guard.check(str(tmp_path))
    assert version_guard.of_file(str(path)) == version[:2]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"binf" + b'{"version":[9,9,9]}', b"\x80\x04garbage", b"\0" * 100000], ids=repr
)
def test_what_names_no_version_is_the_bases_to_judge(tmp_path, content):
    (tmp_path / "xgboost-model").write_bytes(content)
    (tmp_path / "folder").mkdir()
    version_guard.check(str(tmp_path))
    assert version_guard.of_file(str(tmp_path / "xgboost-model")) is None


@pytest.mark.parametrize(
    "content", [b"L\0\0\0\0\0\0\0\7version[#L\0\0\0\0\0\0\0\3i\x09I\0\x01l\0\0\0\2}}", b'"version" : [ 9, 1, 0 ] }\n ']
)
def test_other_spellings_of_the_same(tmp_path, content):
    (tmp_path / "model").write_bytes(b"{" + b"x" * 200000 + content)
    assert version_guard.of_file(str(tmp_path / "model")) == (9, 1)


def test_a_newer_record_is_refused_and_an_unreadable_one_says_nothing(tmp_path, caplog):
    (tmp_path / "xgbpatch").mkdir()
    record = tmp_path / "xgbpatch" / "record.json"
    record.write_text(json.dumps({"xgboost": "9.1.0"}))
    with pytest.raises(version_guard.NewerModelError, match='record.json" says that the model ' + REFUSED):
        version_guard.check(str(tmp_path))
    record.write_text("garbage")
    version_guard.check(str(tmp_path))
    assert "record.json" in caplog.text
    record.write_text(json.dumps({"xgboost": xgboost.__version__}))
    version_guard.check(str(tmp_path))


def test_a_folder_that_is_not_there_is_the_bases_to_judge(tmp_path):
    version_guard.check(str(tmp_path / "nowhere"))


def test_a_worker_refuses_a_newer_model_before_it_loads_it(tmp_path):
    """Its file is no model but for its signature: only who reads that first can say so."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "xgboost-model").write_bytes(b'{"version":[9,1,0]}')
    with pytest.raises(RuntimeError, match=REFUSED), gunicorn("ours", tmp_path / "model", **TRAINING):
        pass


def test_without_the_feature_nothing_is_looked_at_and_with_it_the_answers_are_the_same(tmp_path):
    folder, body, answers = tmp_path / "model", zoo.csv(zoo.inputs(rows=3)), []
    (folder / "xgbpatch").mkdir(parents=True)
    model(folder, "json")
    for version, environment in (("9.1.0", {}), (xgboost.__version__, TRAINING)):
        (folder / "xgbpatch" / "record.json").write_text(json.dumps({"xgboost": version}))
        with gunicorn("ours", folder, **environment) as (port, _):
            answers.append([answer(port, body=body), answer(port, path="/ping"), answer(port, body="a,b")])
    assert answers[0] == answers[1]
    assert [status for status, _, _ in answers[0]] == [200, 200, 415]


def test_a_multi_model_endpoint_refuses_the_newer_one_alone(worker, tmp_path):  # noqa: F811
    body = zoo.csv(zoo.inputs(rows=3))
    plain = worker("binary").post(body)
    assert worker("binary", **TRAINING).post(body) == plain
    assert plain[0] == 200
    (tmp_path / "newer").mkdir()
    model(tmp_path / "newer", "json", (9, 1, 0))
    assert Worker(tmp_path / "newer", BASES).post(body)[0] == 503
    assert Worker(tmp_path / "newer", OURS).post(body)[0] == 503
    with pytest.raises(version_guard.NewerModelError, match=REFUSED):
        serve_utils.get_loaded_booster(str(tmp_path / "newer"))


def test_it_is_hooked_once():
    load = serve_utils.get_loaded_booster
    try:
        version_guard.install(serve_utils)
        first = serve_utils.get_loaded_booster
        version_guard.install(serve_utils)
        assert serve_utils.get_loaded_booster is first is not load
    finally:
        serve_utils.get_loaded_booster = load
