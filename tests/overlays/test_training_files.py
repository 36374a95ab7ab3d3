"""The files that the feature `training` writes beside a model, and those that it reads: names, constraints, folders."""

import importlib.util
import json
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import xgboost
from sagemaker_xgboost_container.algorithm_mode import serve_utils
from xgbpatch_overlays.model import folder
from xgbpatch_overlays.training import artifacts, files, options

from support.overlays.training_files import DRAWS, FEATURES, FILES, XGBOOST, beside, table

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "training.md"
CSV_CHANNEL = {"ContentType": "text/csv; label_size=1", "TrainingInputMode": "File"}


@pytest.mark.parametrize(
    ("texts", "weights", "expected"),
    [
        ({"a.csv": "rings,length\n1,2\n"}, "0", ("length",)),
        ({"a.csv": "\ufeffrings\tlength\r\n1\t2\r\n"}, "0", ("length",)),
        ({"a.csv": "rings,weight,length\n1,1,2\n"}, '"1"', ("length",)),
        ({"in/b.csv": "rings,length\n1,2\n", "a.csv": "1,2\n"}, "0", ("length",)),
        ({"a.csv": "rings,length\n", "b.csv": "rings,height\n"}, "0", ()),
        ({"a.csv": "rings,x,x\n"}, "0", ()),
        ({"a.csv": "rings,,x\n"}, "0", ()),
        ({"a.csv": "0,M,1\n"}, "0", ()),
        ({"a.csv": "nan,inf,1e5\n"}, "0", ()),
        ({"a.csv": ""}, "0", ()),
        ({}, "0", ()),
    ],
)
def test_a_header_is_a_line_of_names_that_all_files_share(tmp_path, texts, weights, expected):
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert files.names_of_channel(str(tmp_path), CSV_CHANNEL, {"csv_weights": weights}) == expected
    assert files.names_of_channel(str(tmp_path), {"ContentType": "text/libsvm"}, {}) == ()
    assert files.names_of_channel(str(tmp_path), dict(CSV_CHANNEL, TrainingInputMode="Pipe"), {}) == ()


def test_the_columns_of_parquet_name_the_features(tmp_path, monkeypatch):
    """pyarrow is in every official base and in no stand-in: what is asked of it is answered here by hand."""
    files_read = []

    class Columns:
        columns = ("rings", "length", "height", "weight")

        def empty_table(self):
            return self

        to_pandas = empty_table

    parquet = types.ModuleType("pyarrow.parquet")
    parquet.read_schema = lambda file: files_read.append(file) or Columns()
    package = types.ModuleType("pyarrow")
    package.parquet = parquet
    monkeypatch.setitem(sys.modules, "pyarrow", package)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", parquet)
    for name in ("_SUCCESS", ".crc", "part-1.parquet", "part-0.parquet"):
        (tmp_path / name).touch()
    names = files.names_of_channel(str(tmp_path), {"ContentType": "application/x-parquet"}, {"csv_weights": "1"})
    assert names == ("length", "height", "weight")
    assert files_read == [str(tmp_path / "part-0.parquet")]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"monotone_constraints": [1, 0]}, "has 2 values, the train channel 4 columns"),
        ({"monotone_constraints": [1, 0, 2, 0]}, "holds 2, and not -1, 0 or 1"),
        ({"monotone_constraints": {"x": 1}}, '"x" is no feature: names are unknown'),
        ({"interaction_constraints": [[0, 4]]}, "4 is no feature: the train channel has columns 0 to 3"),
        ({"interaction_constraints": [0, 1]}, "is not a list of lists"),
    ],
)
def test_constraints_that_do_not_fit_the_data_are_refused(document, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        options.constraint_texts(document, None, 4)


def test_a_base_that_loads_hidden_files_gets_the_folder(tmp_path, monkeypatch):
    """Every file is a model to 1.2-2, and to older images of 1.3-1 and 1.5-1."""
    models = [str(tmp_path / "xgboost-model"), str(tmp_path / folder.FILE)]
    monkeypatch.setattr(serve_utils, "_get_full_model_paths", lambda path: iter(models))
    files.passes_over_hidden_files.cache_clear()
    try:
        files.write_json(str(tmp_path), "record.json", {"xgboost": "1"})
    finally:
        files.passes_over_hidden_files.cache_clear()
    assert [path.name for path in tmp_path.iterdir()] == ["xgbpatch"]
    assert folder.record(str(tmp_path)) == {"xgboost": "1"}


def test_old_folders_are_read_and_what_stands_in_one_counts_first(tmp_path):
    packed = files._archive({"record.json": b'{"xgboost": "1"}', "feature_names.json": b'["a", "b"]'})
    (tmp_path / folder.FILE).write_bytes(packed)
    assert packed == files._archive({"feature_names.json": b'["a", "b"]', "record.json": b'{"xgboost": "1"}'})
    assert folder.record(str(tmp_path)) == {"xgboost": "1"}
    assert folder.background(str(tmp_path)) is None
    (tmp_path / folder.FOLDER).mkdir()
    np.save(str(tmp_path / folder.FOLDER / folder.BACKGROUND), np.zeros((3, 2), dtype=np.float32))
    (tmp_path / folder.FOLDER / folder.FEATURE_NAMES).write_text('["c", "d"]')
    assert folder.feature_names(str(tmp_path)) == ("c", "d")
    assert folder.record(str(tmp_path)) == {"xgboost": "1"}
    assert folder.background(str(tmp_path)).shape == (3, 2)
    (tmp_path / folder.FILE).unlink()
    assert folder.feature_names(str(tmp_path)) == ("c", "d")
    assert folder.record(str(tmp_path)) == {}


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\5\6" + b"\0" * 18, b"no archive" * 99], ids=len)
@pytest.mark.parametrize("name", [folder.RECORD, folder.BACKGROUND, folder.FEATURE_NAMES])
def test_a_hidden_file_that_is_damaged_is_named(tmp_path, content, name):
    (tmp_path / folder.FILE).write_bytes(content)
    reader = {folder.RECORD: folder.record, folder.BACKGROUND: folder.background}.get(name, folder.feature_names)
    if content.startswith(b"PK\5"):  # an archive of nothing
        assert not reader(str(tmp_path))
        return
    with pytest.raises(folder.ModelFolderError, match=f"{re.escape(folder.FILE)}/{name}"):
        reader(str(tmp_path))


def test_a_hidden_file_that_announces_too_much_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "_MOST_BYTES", 1000)
    (tmp_path / folder.FILE).write_bytes(files._archive({"record.json": b" " * 1001}))
    with pytest.raises(folder.ModelFolderError, match="more than 1000 bytes"):
        folder.record(str(tmp_path))


def test_a_program_of_the_users_writes_the_same_files(tmp_path):
    rows = table(0)
    names = ["a", "b", "c", "d"]
    dtrain = xgboost.DMatrix(rows[:, 1:], label=rows[:, 0], feature_names=names)
    booster = xgboost.train({"max_depth": 2}, dtrain, 3)
    artifacts.write(booster, dtrain, model_dir=str(tmp_path), background_rows=5)
    assert set(beside(tmp_path)) == FILES
    assert folder.feature_names(str(tmp_path)) == tuple(names)
    assert folder.background(str(tmp_path)).shape == (5, FEATURES)
    assert json.loads(beside(tmp_path)["importance.json"].decode())["split"] == "train"


def test_the_program_of_the_page_writes_them_without_training_rows(tmp_path):
    (program,) = re.findall(r"```python\n([^`]*artifacts\.write.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.S)
    rows = table(0)[:, :3]
    dtrain, dval = (xgboost.DMatrix(half[:, 1:], label=half[:, 0]) for half in np.array_split(rows, 2))
    booster = xgboost.train({"max_depth": 2}, dtrain, 3)
    exec(program, {"booster": booster, "dtrain": dtrain, "dval": dval, "model_dir": str(tmp_path)})
    assert set(beside(tmp_path)) == FILES - {"background.npy"}
    assert folder.feature_names(str(tmp_path)) == ("age", "height")
    assert json.loads(beside(tmp_path)["importance.json"].decode())["split"] == "validation"


def test_the_plot_is_a_picture_where_the_base_draws(tmp_path):
    """With names that a formula or another alphabet would upset, and no state of pyplot in the base's process."""
    values = np.arange(75.0).reshape(25, 3)
    names = ["$a^b$", "Länge" * 20, "_c", ""] + [str(number) for number in range(21)]
    files.write_importance(str(tmp_path), {}, names, values)
    files.write_importance(str(tmp_path), {}, names[:1], values[:1, :1])
    contents = beside(tmp_path)
    assert ("importance.png" in contents) == DRAWS
    assert not DRAWS or contents["importance.png"].startswith(b"\x89PNG\r\n")
    assert "matplotlib.pyplot" not in sys.modules
    assert not list(tmp_path.rglob("*.partial"))


def test_a_program_that_is_still_in_a_group_of_hosts_is_told_so(tmp_path, monkeypatch, caplog):
    """The group of two is pretended: in a real one, the other host would have to take part."""
    group = xgboost.rabit if XGBOOST < (2, 0) else importlib.import_module("xgboost.collective")
    monkeypatch.setattr(group, "get_world_size", lambda: 2)
    artifacts.write(None, None, model_dir=str(tmp_path))
    assert "is still in a group of 2 hosts" in caplog.text
    assert not list(tmp_path.iterdir())


def test_a_wrong_call_of_the_users_program_is_logged(tmp_path, caplog):
    artifacts.write(None, None, model_dir=str(tmp_path), colour="red")
    assert "could not be written" in caplog.text


@pytest.mark.parametrize("width", [5, 7])
def test_rows_come_back_as_they_were(width):
    random = np.random.RandomState(0)
    data = random.rand(50, 5).astype(np.float32)
    data[random.rand(50, 5) < 0.4] = np.nan
    data[random.rand(50, 5) < 0.2] = 0
    numbers = files.sample(50, 20)
    rows = files.dense(files.read_rows(xgboost.DMatrix(data), numbers, width))
    expected = np.column_stack([data[list(numbers)], np.full((20, width - 5), np.nan, dtype=np.float32)])
    np.testing.assert_array_equal(rows, expected)


def test_a_sample_is_the_same_at_every_call():
    assert files.sample(1000000000, 3) == files.sample(1000000000, 3)
    assert sorted(files.sample(4, 100)) == [0, 1, 2, 3]
