"""Every layout that our image writes is read to the same numbers; what is none is refused with file and line."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from support.explained import NAMES, capture, explain
from xgbpatch.errors import ConfigurationError
from xgbpatch.report.explanations import JOURNAL, Explanations, Hints, Rows, files_of

MADE = explain(rows=30)


def written(folder, name, lines):
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def read(path, hints=None):
    explanations = Explanations([path], hints or Hints())
    return Rows.joined(list(explanations)), explanations


def keys(explained):
    """Selected keys as the base writes them into CSV: lists in quotes."""
    return [
        f'{p[0]},{b[0]},"{v[0]}"'
        for p, b, v in zip(explained.predictions, explained.base, explained.values.tolist(), strict=True)
    ]


def parquet(folder, explained):
    import pyarrow
    from pyarrow import parquet as files

    names = ("prediction", "base_value", *NAMES)
    columns = [explained.predictions[:, 0], explained.base[:, 0], *explained.values[:, 0].T]
    files.write_table(pyarrow.table(dict(zip(names, columns, strict=True))), folder / "explained.parquet")
    return folder / "explained.parquet"


def layouts(folder, explained):
    lines, records = explained.lines(), [json.dumps(record) for record in explained.records()]
    packed = folder / "explained.gz"
    packed.write_bytes(gzip.compress("\n".join(lines).encode()))
    whole = json.dumps({"predictions": explained.records()})
    folder_of_parts = folder / "parts"
    folder_of_parts.mkdir()
    written(folder_of_parts, "a.out", lines[:7])
    written(folder_of_parts, "b.out", lines[7:])
    written(folder_of_parts, "_SUCCESS", [])
    headed = explained.lines(header=True)
    return {
        "csv": written(folder, "plain.csv", lines),
        "csv, gzip": packed,
        "csv, header": written(folder, "headed.csv", headed),
        "csv, answers one after the other": written(folder, "again.csv", [*headed[:4], headed[0], *headed[4:]]),
        "csv, keys": written(folder, "keys.csv", keys(explained)),
        "csv, keys, header": written(folder, "keyed.csv", ["predicted_score,base_value,shap_values", *keys(explained)]),
        "folder of parts": folder_of_parts,
        "json": written(folder, "whole.json", [whole]),
        "json, batch transform": written(folder, "batch.json", [whole.replace("}, {", '}]}{"predictions": [{')]),
        "json lines": written(folder, "lines.jsonl", records),
        "parquet": parquet(folder, explained),
        "capture, csv": written(folder, "a.capture", [
            capture(explained.inputs()[:4], "\n".join(lines[:4])),
            capture(explained.inputs()[4:], "\n".join(lines[4:]), encoding="BASE64"),
        ]),
        "capture, json": written(folder, "b.capture", [capture(explained.inputs(), whole, "application/json", "JSON")]),
    }  # fmt: skip


def test_every_layout_is_read_to_the_same_numbers(tmp_path):
    for title, path in layouts(tmp_path, MADE).items():
        rows, explanations = read(path)
        np.testing.assert_array_equal(rows.numbers, np.arange(1, 31), err_msg=title)
        for name in ("predictions", "base", "values"):
            np.testing.assert_allclose(getattr(rows, name), getattr(MADE, name), rtol=1e-6, err_msg=f"{title}: {name}")
        if "capture" in title:
            np.testing.assert_allclose(rows.data, MADE.data, err_msg=title)
        named = title in ("csv, header", "csv, answers one after the other", "parquet")
        assert explanations.layout.names == (NAMES if named else None), title


@pytest.mark.parametrize("objective", ["multi:softprob", "multi:softmax"])
def test_several_classes(tmp_path, objective):
    explained = explain(objective, rows=10)
    plain = written(tmp_path, "plain.csv", explained.lines())
    lines = written(tmp_path, "lines.jsonl", map(json.dumps, explained.records()))
    predicted = ["prediction"] if explained.predictions.shape[1] == 1 else [f"prediction_{place}" for place in range(3)]
    header = [*predicted, *(f"{name}_{place}" for place in range(3) for name in ("base_value", *NAMES))]
    headed = written(tmp_path, "headed.csv", [",".join(header), *explained.lines()])
    for path, hints in ((plain, Hints(classes=3)), (plain, Hints(features=8)), (lines, Hints()), (headed, Hints())):
        rows, explanations = read(path, hints)
        np.testing.assert_allclose(rows.values, explained.values, rtol=1e-6)
        np.testing.assert_allclose(rows.base, explained.base, rtol=1e-6)
        np.testing.assert_allclose(rows.predictions, explained.predictions, rtol=1e-6)
    assert explanations.layout.names == NAMES


def test_batch_transform_that_joins_its_input(tmp_path):
    rows, _ = read(written(tmp_path, "joined.csv", MADE.lines(joined=True)), Hints(joined=True))
    np.testing.assert_allclose(rows.data, MADE.data)
    np.testing.assert_allclose(rows.values, MADE.values, rtol=1e-6)


def test_interactions_behind_the_values_are_passed_over(tmp_path):
    names = [f"{one}*{two}" for one in (*NAMES, "base_value") for two in (*NAMES, "base_value")]
    header = ",".join(["prediction", "base_value", *NAMES, *names])
    lines = [f"{line},{','.join(['0.5'] * len(names))}" for line in MADE.lines()]
    rows, explanations = read(written(tmp_path, "wide.csv", [header, *lines]))
    np.testing.assert_allclose(rows.values, MADE.values, rtol=1e-6)
    assert explanations.layout.names == NAMES


def test_captured_answers_without_shap_values_are_counted(tmp_path):
    lines = MADE.lines()
    plain = [capture(MADE.inputs()[:2], "9.5\n8.5"), capture([], ""), capture(MADE.inputs(), "\n".join(lines))]
    rows, explanations = read(written(tmp_path, "mixed.capture", plain))
    assert (len(rows), explanations.unexplained) == (30, 2)


LINES = MADE.lines()
CASES = {
    "ragged": ([*LINES[:2], LINES[2] + ",1"], "line 3 has 11 columns, those before it have 10"),
    "a word": ([LINES[0], LINES[1].replace(",", ",x", 1)], 'line 2, column 2: "x'),
    "a word in the first line": (["9.5,x" + ",0" * 8, *LINES], 'line 1, column 2: "x" is no number'),
    "an empty cell": ([LINES[0], "1,,2" + ",0" * 7], 'line 2, column 2: "" is no number'),
    "not finite": ([LINES[0], "1,nan" + ",0" * 8], "line 2: column 2 is nan, not a finite number"),
    "infinite": (["inf" + ",0" * 9], "line 1: column 1 is inf"),
    "predictions alone": (["9.5", "8.5"], "line 1: 1 columns are no prediction, base value and SHAP values"),
    "another table": (["rings,sex,length", "1,2,3"], 'has no column "base_value"'),
    "a header too short": (["prediction,base_value,sex", "1,2,3,4"], "line 2: 4 columns, where the header names 3"),
    "top_k": (["prediction,base_value,top_1,top_2", "1,2,3,4"], "holds the strongest features alone (top_k)"),
    "libsvm": (["9 1:2 2:0.5"], "is libsvm, and no explanations"),
    "json without": (['{"predictions": [{"score": 1}]}'], 'line 1 has no "shap_values"'),
    "json of two widths": (
        ['{"score": 1, "base_value": 1, "shap_values": [1, 2]}', '{"score": 1, "base_value": 1, "shap_values": [1]}'],
        "line 2: 1 features and 1 outputs",
    ),
    "json of a text": (['{"score": 1, "base_value": 1, "shap_values": ["x", 2]}'], "line 1: a value is no number"),
    "json of other classes": (['{"score": 1, "base_value": [1, 2], "shap_values": [[1]]}'], "not of the same classes"),
    "cut json": (['{"score": 1, "base'], "line 1 is no JSON"),
    "capture of requests alone": (['{"captureData": {"endpointInput": {}}}'], "the capture has no output"),
    "nothing": ([], "holds no explained prediction"),
    "captures without": ([capture(["1"], "9.5")], "1 captured answers have none"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_no_explanation_is_refused_with_its_place(tmp_path, case):
    lines, reason = CASES[case]
    with pytest.raises(ConfigurationError) as error:
        read(written(tmp_path, "bad", lines))
    assert reason in error.value.message
    assert str(tmp_path / "bad") in error.value.message


def test_files_of_two_models_are_refused(tmp_path):
    written(tmp_path, "a.out", LINES)
    other = written(tmp_path, "b.out", [f"{line},0" for line in LINES])
    with pytest.raises(ConfigurationError, match="line 1: 11 columns, and rows before it have 10") as error:
        read(tmp_path)
    assert str(other) in error.value.message


def test_classes_in_csv_and_in_json_are_read_one_behind_the_other(tmp_path):
    explained = explain("multi:softprob", rows=10)
    written(tmp_path, "a.csv", explained.lines())
    written(tmp_path, "b.jsonl", map(json.dumps, explained.records()))
    rows, _ = read(tmp_path, Hints(classes=3))
    np.testing.assert_allclose(rows.values[:10], rows.values[10:], rtol=1e-6)
    np.testing.assert_allclose(rows.base[:10], rows.base[10:], rtol=1e-6)


@pytest.mark.parametrize("request_", ["1,2,x,4,5,6,7,8", "a,b\n1,2,3,4,5,6,7,8", ""])
def test_a_captured_request_that_cannot_be_read_costs_its_features_alone(tmp_path, request_):
    lines = [capture([request_], MADE.lines()[0]), capture(MADE.inputs()[1:2], MADE.lines()[1])]
    rows, _ = read(written(tmp_path, "some.capture", lines))
    assert np.isnan(rows.data[0]).all()
    np.testing.assert_allclose(rows.data[1], MADE.data[1])


def test_outputs_of_batch_transform_come_in_the_order_of_their_inputs(tmp_path):
    for folder, suffix in (("in", ""), ("out", ".out")):
        (tmp_path / folder).mkdir()
        for name in ("rows", "rows.1", "rows-a"):
            (tmp_path / folder / f"{name}{suffix}").touch()
    outputs = [path.name.removesuffix(".out") for path in files_of([tmp_path / "out"])]
    assert outputs == [path.name for path in files_of([tmp_path / "in"])]


def test_a_run_of_explain_that_has_not_ended_is_refused(tmp_path):
    written(tmp_path, "part-00000.csv", LINES)
    written(tmp_path, JOURNAL, ['{"complete": false}'])
    with pytest.raises(ConfigurationError, match="holds a part of what"):
        read(tmp_path)
    written(tmp_path, JOURNAL, ['{"complete": true}'])
    assert len(read(tmp_path)[0]) == len(LINES)


def test_half_a_gzip_file_is_refused(tmp_path):
    (tmp_path / "half.gz").write_bytes(gzip.compress("\n".join(LINES).encode())[:-20])
    with pytest.raises(ConfigurationError, match="is no whole gzip file"):
        read(tmp_path / "half.gz")


def test_what_only_begins_like_parquet_is_refused(tmp_path):
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ConfigurationError, match="cannot be read as Parquet"):
        read(tmp_path / "bad.parquet")
