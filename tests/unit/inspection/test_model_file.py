"""A model file's format is read from its bytes; which xgboost reads it, from the measured table."""

import pickle
import struct

import pytest
import xgboost
from packaging.version import Version

from xgbpatch.conversion.xgboosts import releases
from xgbpatch.inspection import model_file
from xgbpatch.inspection.model_file import Format, ModelFile, border, recognise, verdict


def binary(objective=b"reg:squarederror", booster=b"gbtree", version=(1, 5)):
    parameters = struct.pack("<fIiiiII", 0.5, 4, 0, 1, 0, *version).ljust(136, b"\0")
    return parameters + b"".join(struct.pack("<Q", len(text)) + text for text in (objective, booster)) + b"\0" * 200


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The booster of the xgboost at hand, in its formats."""
    folder = tmp_path_factory.mktemp("own")
    data = xgboost.DMatrix([[0.0, 1.0], [1.0, 0.0]], label=[0, 1])
    booster = xgboost.train({"nthread": 1}, data, 1)
    booster.save_model(folder / "a.json")
    booster.save_model(folder / "a.ubj")
    return {"json": (folder / "a.json").read_bytes(), "ubj": (folder / "a.ubj").read_bytes(),
            "pickle": pickle.dumps(booster), "pickle 2": pickle.dumps(booster, protocol=2)}  # fmt: skip


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(binary(), ModelFile(Format.BINARY, Version("1.5")), id="binary"),
        pytest.param(b"binf" + binary(version=(1, 2)), ModelFile(Format.BINARY, Version("1.2")), id="binf"),
        pytest.param(binary(b"multi:softprob", b"dart"), ModelFile(Format.BINARY, Version("1.5")), id="dart"),
        pytest.param(binary(booster=b"gblinear", version=(0, 0)), ModelFile(Format.BINARY), id="before 1.0"),
        pytest.param(binary(objective=b"#!/bin/sh"), None, id="no objective"),
        pytest.param(binary()[:100], None, id="cut off"),
        pytest.param(b"", None, id="empty"),
        pytest.param(b'{"name": "metadata", "models": ["xgboost"]}', None, id="other JSON"),
        pytest.param(b"numpy\nxgboost\n", None, id="text"),
        pytest.param(pickle.dumps({"encoder": 1}), None, id="pickle of something else"),
        pytest.param(b"\x1f\x8b\x08" + bytes(300), None, id="gzip"),
    ],
)
def test_a_file_is_told_by_its_bytes(content, expected):
    assert recognise(content) == expected


@pytest.mark.parametrize("form", ["json", "ubj", "pickle", "pickle 2"])
def test_what_the_xgboost_at_hand_writes_names_its_version(own, form):
    file = recognise(own[form])
    assert file is not None
    assert file.format.value == form.partition(" ")[0]
    assert file.xgboost == Version(xgboost.__version__) or form == "pickle 2"  # which escapes the bytes


def test_the_measured_table_holds_every_xgboost_of_the_images():
    versions = [release.version for release in releases()]
    assert list(model_file.measured()) == versions
    for forms in model_file.measured().values():
        assert all(list(verdicts) == versions for verdicts in forms.values())
        assert {"json", "pickle"} <= set(forms)


@pytest.mark.parametrize(
    ("before", "now", "version", "says"),
    [
        ("1.5.2", "3.2.0", "3.2-0", "does not load binary models and pickles of xgboost 1.2.0 to 1.5.2"),
        ("3.0.5", "3.2.0", "3.2-0", "binary models of xgboost 1.2.0 to 3.0.5 and pickles of xgboost 1.2.0 to 1.5.2"),
        ("3.2.0", "3.0.5", "3.0-5", "predicts other numbers with JSON models, UBJSON models and pickles of xgboost"),
        ("3.2.0", "3.0.5", "3.0-5", "`xgbpatch convert-model --for 3.0-5`"),
        ("1.5.2", "1.7.4", "1.7-1", ""),
        ("1.7.4", "3.0.5", "3.0-5", ""),
        ("3.2.0", "3.2.0", "3.2-0", ""),
        (None, "3.2.0", "3.2-0", ""),
    ],
)  # fmt: skip
def test_a_border_is_told_with_the_formats_that_are_lost(before, now, version, says):
    words = border(version, before and Version(before), Version(now))
    assert says in words
    assert bool(words) is bool(says)


def test_a_model_of_an_unknown_writer_counts_as_of_the_oldest():
    assert verdict(ModelFile(Format.BINARY), Version("3.2.0")) == model_file.REFUSED
    assert verdict(ModelFile(Format.JSON, Version("2.1.0")), Version("3.2.0")) == model_file.EQUAL
    assert verdict(ModelFile(Format.BINARY, Version("1.4")), Version("1.7.6")) == model_file.EQUAL
