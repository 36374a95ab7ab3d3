"""The fix model-formats: models that this xgboost does not read, or would misread, are named with the way out."""

import copyreg
import json
import pickle
import struct

import numpy as np
import pytest
import xgboost
from sagemaker_xgboost_container.algorithm_mode import serve_utils
from test_fixes_model_folder import ESTIMATOR, FORMS, LOADING, ROWS, _misshapen, predicted, trained, written
from test_fixes_serving import Bomb, _base_afterwards, model_server, needed  # noqa: F401 - fixtures
from test_multi_model import OURS, Worker
from test_training_version_guard import signed
from xgbpatch_overlays import fixes as overlays_fixes
from xgbpatch_overlays.model import files, version_guard

from support.overlays import zoo


class Old:
    """Pickled: a booster with the state of another xgboost."""

    def __init__(self, raw):
        self.raw = raw

    def __reduce__(self):
        return (
            copyreg._reconstructor,
            (xgboost.Booster, object, None),
            {"handle": bytearray(self.raw), "best_iteration": 0},
        )


BINF = b"binf" + struct.pack("<fIiiiII", 0.5, 3, 0, 0, 0, 1, 5) + bytes(108)
UBJ = (
    b"{L\0\0\0\0\0\0\0\x07learner{L\0\0\0\0\0\0\0\x0aattributes{}}L\0\0\0\0\0\0\0\7version[#L\0\0\0\0\0\0\0\3i\1i\7i\4}"
)
CONVERTED = "xgbpatch convert-model xgboost-model{} model.json`, or, with the xgboost that wrote it, by "
CONVERTED += '{}save_model("model.json")'


def refusal(folder, *names):
    for name in names or ("model-formats",):
        needed(name, LOADING)
    with pytest.raises(files.ModelRefused) as refused:
        serve_utils.get_loaded_booster(str(folder), True)
    return str(refused.value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_the_version_in_a_pickle_is_read_of_every_protocol(tmp_path, protocol):
    (tmp_path / "xgboost-model").write_bytes(pickle.dumps(Old(UBJ), protocol))
    assert version_guard.of_file(str(tmp_path / "xgboost-model")) == (1, 7)


@pytest.mark.skipif(zoo.XGBOOST < (3, 1), reason="it reads the binary form")
@pytest.mark.parametrize("fixes", [("model-formats",), ("model-missing", "model-formats", "model-files")], ids=str)
def test_the_binary_form_is_named_with_who_wrote_it(tmp_path, fixes):
    (tmp_path / "xgboost-model").write_bytes(BINF)
    reason = refusal(tmp_path, *fixes)
    assert "the binary format that xgboost wrote before 3.1 (here by 1.5) and no longer reads" in reason
    assert CONVERTED.format("", "booster.") in reason


@pytest.mark.skipif(zoo.XGBOOST < (3, 1), reason="it reads pickles of older ones")
@pytest.mark.parametrize("raw", [b"CONFIG-offset:", b'{"Config":{"learner":{}},"Model":{}}'], ids=["1.2", "1.5"])
def test_an_old_pickle_is_named(tmp_path, raw):
    (tmp_path / "xgboost-model").write_bytes(pickle.dumps(Old(raw), protocol=4))
    reason = refusal(tmp_path)
    assert "is a pickle that it does not load" in reason
    assert CONVERTED.format(" --unpickle", "pickle.load(file).") in reason


@pytest.mark.parametrize("name", ["xgboost-model", "classifier.pkl"])
def test_an_estimator_alone_is_told_from_a_booster(tmp_path, name):
    (tmp_path / name).write_bytes(ESTIMATOR)
    reason = refusal(tmp_path, "model-files", "model-formats")
    assert "is a pickle of an estimator of xgboost.sklearn, where the server takes a booster" in reason
    assert CONVERTED.format(" --unpickle", "model.get_booster().").replace("xgboost-model", name, 1) in reason


@pytest.mark.skipif(not (1, 6) <= zoo.XGBOOST < (3, 1), reason="others do not choose by name, or read no binary form")
def test_the_binary_form_under_the_name_of_another(tmp_path):
    written(tmp_path / "model.ubj", form="binary")
    assert 'call it "model"' in refusal(tmp_path)


@pytest.mark.skipif(zoo.XGBOOST >= (1, 6), reason="it reads UBJSON")
def test_ubjson_before_there_was_any(tmp_path):
    (tmp_path / "xgboost-model").write_bytes(UBJ)
    reason = refusal(tmp_path)
    assert f"was written by xgboost 1.7, and this image has {xgboost.__version__}" in reason
    assert "does not read its format, UBJSON: serve it with an image of at least that version" in reason


@pytest.mark.parametrize("form", [form for form in FORMS if form != "binary"])
def test_a_newer_model_that_would_be_misread(tmp_path, form):
    """One of 3.1 or newer loads in older ones, and predicts other numbers."""
    path = written(tmp_path / "xgboost-model", form=form)
    path.write_bytes(signed(path.read_bytes(), (9, 1, 0)))
    if zoo.XGBOOST >= (3, 1):  # nobody knows what 9.1 will write, and it loads
        needed("model-formats", LOADING)
        serve_utils.get_loaded_booster(str(tmp_path), True)
    else:
        assert "was written by xgboost 9.1, and this image has" in refusal(tmp_path)


def test_a_base_score_of_logitraw_across_its_border(tmp_path):
    """1.3 and newer take that of 1.2 for a margin, and 1.2 takes theirs for a probability."""
    booster = xgboost.train({"objective": "binary:logitraw"}, xgboost.DMatrix(ROWS, label=ROWS[:, 0] > 0.5), 2)
    path = written(tmp_path / "xgboost-model", booster)
    path.write_bytes(signed(path.read_bytes(), (1, 3, 0) if zoo.XGBOOST < (1, 3) else (1, 2, 0)))
    assert "is of binary:logitraw, whose base score it reads otherwise" in refusal(tmp_path)


@pytest.mark.parametrize("objective", ["binary:logistic", "count:poisson", "reg:squarederror"])
def test_a_linear_model_that_does_not_say_its_rounds(tmp_path, objective):
    """As 1.2 and 1.3 write it: 3.1 and newer take it for untrained, which changes nothing where margins are scores."""
    label = (ROWS[:, 0] > 0.5).astype(float)
    parameters = {"booster": "gblinear", "objective": objective, "base_score": 0.3, "nthread": 1}
    booster = xgboost.train(parameters, xgboost.DMatrix(ROWS, label=label), 3)
    path = written(tmp_path / "xgboost-model", booster)
    document = json.loads(path.read_text())
    document["learner"]["learner_model_param"].pop("boost_from_average", None)
    needed("model-formats", LOADING)
    for rounds in (3, None, 0):
        model = document["learner"]["gradient_booster"]["model"]
        model.pop("boosted_rounds", None)
        model.update({} if rounds is None else {"boosted_rounds": rounds})
        path.write_text(json.dumps(document))
        other = xgboost.Booster()
        other.load_model(str(path))
        misread = not np.allclose(predicted(other), predicted(booster), atol=1e-5)
        assert misread == (zoo.XGBOOST >= (3, 1) and not rounds and objective != "reg:squarederror")
        if misread:
            refused = refusal(tmp_path)
            assert "does not say how many rounds it has" in refused
            assert "`xgbpatch convert-model xgboost-model model.json`" in refused
        else:
            assert np.allclose(predicted(serve_utils.get_loaded_booster(str(tmp_path), True)[0]), predicted(booster))


@pytest.mark.skipif(zoo.XGBOOST == (3, 0), reason="what is newer than it is refused before it is loaded")
def test_a_newer_json_that_fails(tmp_path):
    newer = (zoo.XGBOOST[0], zoo.XGBOOST[1] + 1)
    _misshapen(tmp_path, (*newer, 0))
    reason = refusal(tmp_path, "model-missing", "model-formats")
    assert "was written by xgboost {}.{}, and this image has".format(*newer) in reason
    assert "which does not read it: serve it with an image of at least that version" in reason


@pytest.mark.parametrize("form", FORMS)
def test_what_this_xgboost_wrote_is_loaded_with_all_fixes(tmp_path, form):
    booster = trained()
    written(tmp_path / "xgboost-model", booster, form)
    for name in ("model-files", "model-formats", "model-missing"):
        needed(name, LOADING)
    model, _ = serve_utils.get_loaded_booster(str(tmp_path), True)
    assert np.array_equal(predicted(model), predicted(booster))


def test_a_multi_model_endpoint_refuses_a_form_when_it_is_loaded(tmp_path, caplog):
    (tmp_path / "xgboost-model").write_bytes(BINF if zoo.XGBOOST >= (3, 1) else UBJ.replace(b"i\1i\7i\4", b"i\3i\2i\0"))
    overlays_fixes.install(["model-formats"], overlays_fixes.MODEL_SERVER)
    with pytest.raises(SystemExit):
        Worker(tmp_path, OURS)
    assert "xgboost-model" in caplog.text
