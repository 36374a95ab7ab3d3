"""float32 to text: the shortest that gives the same back, and predictions as the base writes them."""

import numpy as np
import pytest
from sagemaker_containers import _encoders
from sagemaker_xgboost_container.algorithm_mode import serve_utils
from xgbpatch_overlays import native

INFINITY, NAN = float("inf"), float("nan")


def floats(*patterns):
    return np.array(patterns, dtype=np.uint32).view(np.float32)


def hard_floats():
    """Every power of two and of ten with its neighbours, the ends of the range, and a stride through all patterns."""
    powers = np.concatenate([2.0 ** np.arange(-149, 128), 10.0 ** np.arange(-45, 39), [1, 2**24, 0.3]])
    bits = powers.astype(np.float32).view(np.uint32)
    ends = floats(0, 1, 2, 0x7FFFFF, 0x800000, 0x800001, 0x7F7FFFFF, 0x15AE43FC, 0x15AE43FD, 0x15AE43FE)
    stride = np.arange(0, 2**32, 2**32 // 30011, dtype=np.uint64).astype(np.uint32)
    every = np.concatenate([bits, bits - 1, bits + 1, stride]).view(np.float32)
    every = np.concatenate([every, ends, -ends])
    return every[np.isfinite(every)]


def test_the_library_is_there():
    assert native.available()


def test_a_text_reads_as_the_same_float32_also_by_way_of_a_double():
    values = hard_floats()
    (line,) = native.shortest(values.reshape(1, -1), ",")
    doubles = np.array([float(each) for each in line.split(",")])
    assert (doubles.astype(np.float32).view(np.uint32) == values.view(np.uint32)).all()


def test_no_text_of_fewer_digits_reads_as_the_same_float32():
    values = hard_floats()[:-20:3]  # without 0x15AE43FE: as a double, its neighbour's shortest text gives it too
    (line,) = native.shortest(values.reshape(1, -1), ",")
    for value, number in zip(values.tolist(), line.split(",")):
        digits = len(number.partition("e")[0].replace(".", "").lstrip("-0").rstrip("0"))
        if digits > 1:
            assert np.float32(float("{:.{}e}".format(value, digits - 2))) != np.float32(value), number


def test_python_writes_the_same_where_there_is_no_library(monkeypatch):
    values = np.concatenate([hard_floats(), [NAN, INFINITY, -INFINITY]]).astype(np.float32)[-7000:].reshape(-1, 7)
    ours = [list(native.shortest(values, "|", special)) for special in (native.PYTHON, native.JSON)]
    monkeypatch.setattr(native, "available", lambda: False)
    assert ours == [list(native.shortest(values, "|", special)) for special in (native.PYTHON, native.JSON)]


def test_the_layout_is_that_of_repr():
    values = np.float32([0.1, -0.0, 1, 1e-4, 1e-5, 123456789, 1e15, 1e16, 16777216, NAN, -INFINITY])
    (line,) = native.shortest(values.reshape(1, -1))
    assert line == "0.1, -0.0, 1.0, 0.0001, 1e-05, 123456790.0, 1000000000000000.0, 1e+16, 16777216.0, nan, -inf"


@pytest.mark.parametrize("ending", ["", "\n"])
def test_numbers_stand_behind_the_lines_of_their_rows(monkeypatch, ending):
    monkeypatch.setattr(native, "AT_ONCE", 16)
    values = np.append(hard_floats()[:88], [NAN, INFINITY]).astype(np.float32).reshape(30, 3)
    firsts = [f"[{number}, 0.5]" for number in range(30)]
    parts, lines = [values[:7], values[7:]], ("\n".join(firsts) + ending).encode("ascii")
    text = native.behind(lines, parts)
    expected = [",".join([first, cells]) for first, cells in zip(firsts, native.shortest(values, ","))]
    assert text.decode("ascii") == "\n".join(expected) + ending
    monkeypatch.setattr(native, "available", lambda: False)
    assert native.behind(lines, parts) == text


def test_rows_that_fill_several_buffers_stay_apart(monkeypatch):
    values = np.random.RandomState(0).randn(50, 3).astype(np.float32)
    whole = list(native.shortest(values))
    monkeypatch.setattr(native, "AT_ONCE", 7)
    assert list(native.shortest(values)) == whole
    assert len(whole) == 50
    assert list(native.shortest(np.empty((2, 0), np.float32))) == ["", ""]
    assert list(native.shortest(values[::2, ::-1])) == list(native.shortest(values[::2, ::-1].copy()))


BASE = {
    "csv": (native.CSV, lambda array: _encoders.encode(array.tolist(), "text/csv")),
    "json": (native.JSON_SCORES, lambda array: serve_utils.encode_predictions_as_json(array.tolist())),
    "batch": (native.BATCH_LINES, lambda array: "\n".join(map(str, array.tolist())) + "\n"),
    "multi-model csv": (native.MULTI_MODEL_CSV, lambda array: ",".join(map(str, array.tolist()))),
    "multi-model json": (native.MULTI_MODEL_JSON, lambda array: _encoders.encode(array, "application/json")),
}


@pytest.mark.parametrize("layout", sorted(BASE))
@pytest.mark.parametrize("count", [1, 3, 2000])
@pytest.mark.parametrize("classes", [0, 1, 5])
def test_predictions_are_the_bases_bytes(monkeypatch, layout, count, classes):
    values = np.concatenate([[NAN, INFINITY, -INFINITY], hard_floats()]).astype(np.float32)
    array = np.resize(values, (count, classes) if classes else count)
    ours, base = BASE[layout]
    assert native.predictions(array, ours) == base(array).encode("ascii")
    monkeypatch.setattr(native, "available", lambda: False)
    assert native.predictions(array, ours) == base(array).encode("ascii")


def test_the_base_writes_what_is_no_float32():
    for array in (np.zeros(3), np.zeros((2, 2, 2), np.float32), np.zeros(0, np.float32)):
        assert native.predictions(array, native.CSV) is None
