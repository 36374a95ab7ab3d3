"""The native parser of request bodies against the base's own: the same rows, bit for bit, or None."""

import random
import struct
from decimal import Decimal

import numpy as np
import pytest
import scipy.sparse
from sagemaker_containers import _encoders
from sagemaker_containers.record_pb2 import Record
from sagemaker_xgboost_container import encoder
from sagemaker_xgboost_container.algorithm_mode import serve_utils
from xgbpatch_overlays import native, request_data
from xgbpatch_overlays.native import body

CSV, LIBSVM, RECORDIO = "text/csv", "text/libsvm", "application/x-recordio-protobuf"
BODIES = 1500  # of each kind; a run of millions by hand found no difference

WORDS = """
nan NaN -nan +NaN inf -Infinity infinity nan(1) n na null None True a 1a "1" '1' 1_0 0x10 1d5 1f 1j 1.2.3 1e5.5 --1 +-1
\u0661 1\u0660 \uff11 \u22121 \ufeff1 . - + e5 1e 1e+ -0 -0.0 +5 .5 5. 1e5 1E-5 00012 1e0000000000000000005 1e-0
0e999999 0e-999 1e400 1e-400 1e39 1e38 1e-45 1e-37 3.4028234e38 3.4028235e38 3.4028235677973366e38 3.4028236e38
1.17549435e-38 1.1754942e-38 16777217 16777219 9007199254740993 7.038531e-26 33554435 0.1e-1000000000000
1e99999999999999999
"""
SPELLINGS = (
    *WORDS.split(),
    *("", " ", "\t", "\r", " 1", "1 ", "\t1", "1\t", "1\r", "\x0b1", "1\x0c", "\x1c1", "1 2", "\x00", "1\x00"),
    *("\u00a01", "1\u00a0", "1\u2003"),
    *("0." + "0" * 200 + "1e200", "1" + "0" * 200 + "e-200", "9" * 254, "9" * 256, "0" * 300, "1." + "0" * 300),
)


class Writer:
    """Bodies of a seed: mostly valid, with every spelling that is an issue, and every mistake."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def digits(self, count):
        return "".join(self.random.choice("0123456789") for _ in range(count))

    def number(self):
        kind = self.random.random()
        if kind < 0.3:
            return repr(self.random.uniform(-1000, 1000))
        if kind < 0.5:
            return self.halfway()
        text = self.random.choice(["", "", "-", "+"]) + self.digits(self.random.randint(1, 22))
        if self.random.random() < 0.6:
            text += "." + self.digits(self.random.choice([0, 1, 3, 7, 12, 17, 19, 25]))
        if self.random.random() < 0.4:
            text += self.random.choice("eE") + self.random.choice(["", "-", "+"]) + str(self.random.randint(0, 45))
        return text

    def halfway(self):
        """In the middle of two float32 or next to it: where two roundings are not one."""
        bits = np.array([self.random.getrandbits(31) % 0x7F000000 + 0x400000], np.uint32)
        low, high = np.concatenate([bits, bits + 1]).view(np.float32).astype(np.float64)
        middle = float(np.nextafter((low + high) / 2, self.random.choice([0, (low + high) / 2, np.inf])))
        return self.random.choice([repr(middle), str(Decimal(middle))[:250], f"{middle:.17e}"])

    def spelling(self, odd):
        return self.random.choice(SPELLINGS) if self.random.random() < odd else self.number()

    def lines(self, lines):
        text = self.random.choice(["\n", "\n", "\n", "\r\n", "\r", "\n\n"]).join(lines)
        if self.random.random() < 0.3:
            text += self.random.choice(["\n", "\r\n", "\n\n", " ", "\t\n", "\x00"])
        if self.random.random() < 0.05:
            text = self.random.choice(["\ufeff", "\n", " ", "a,b\n"]) + text
        return text.encode("utf-8")

    def csv(self):
        delimiter = self.random.choice([","] * 20 + [";", "\t", " ", "|", ":", ", "])
        rows, columns = self.random.choice([1, 1, 2, 3, 15]), self.random.choice([1, 1, 2, 3, 8, 60])
        odd = self.random.choice([0, 0, 1 / (rows * columns), 0.5])
        ragged = self.random.choice([0] * 15 + [-1, 1])
        cells = [[self.spelling(odd) for _ in range(columns)] for _ in range(rows)]
        cells[-1] = cells[-1][: max(1, columns + ragged)] + ["1"] * max(0, ragged)
        return self.lines([delimiter.join(row) for row in cells])

    def libsvm(self):
        odd, first = self.random.choice([0, 0, 0.2]), self.random.choice([0, 1, 3])
        pairs = ["{}:{}"] * (5 if odd else 1) + [
            "+{}:{}",
            "0{}:{}",
            "{}:{}:1",
            "-{}:{}",
            "{}.0:{}",
            "1_{}:{}",
            "{}: {}",
        ]
        lines = []
        for _ in range(self.random.choice([1, 1, 2, 3])):
            columns = sorted(self.random.sample(range(first, 30), self.random.choice([1, 3, 5])))
            if self.random.random() < odd:
                columns = self.random.choice([[], [3, 1], [2, 2]])
            label = self.random.choice(["abc", "#", "qid:1", "1 1", "\t1", "1e5", "0.5"]) if odd else "1"
            tokens = [label] * (self.random.random() < 0.8)
            for column in columns:
                pair = self.random.choice(pairs if odd else pairs[:1])
                tokens.append(pair.format(column, self.spelling(odd)))
            lines.append(self.random.choice([" "] * 9 + ["  ", "\t"] if odd else [" ", "  "]).join(tokens))
        return self.lines(lines)

    def recordio(self):
        rows, columns = self.random.choice([1, 2, 5]), self.random.choice([1, 3, 8])
        array = np.array(
            [[self.random.choice([0.5, -1, 0, 1e300, np.nan, np.inf, 3e38]) for _ in range(columns)]] * rows
        )
        array = array if self.random.random() < 0.3 else np.random.RandomState(rows).randn(rows, columns)
        dtype = self.random.choice([np.float32, np.float32, np.float64, np.int64])
        array = (np.clip(np.nan_to_num(array), -9, 9) if dtype is np.int64 else array).astype(dtype)
        if self.random.random() < 0.4:
            array = scipy.sparse.csr_matrix(array * (np.random.RandomState(columns).rand(rows, columns) < 0.7))
        labels = np.arange(rows, dtype=np.float32) if self.random.random() < 0.2 and rows == columns else None
        whole = bytearray(_encoders.array_to_recordio_protobuf(array, labels))
        for _ in range(self.random.choice([0, 0, 0, 1, 3])):
            whole[self.random.randrange(len(whole))] = self.random.getrandbits(8)
        return bytes(whole[: self.random.choice([len(whole)] * 5 + [self.random.randrange(len(whole))])])


@pytest.fixture(autouse=True)
def recorded(monkeypatch):
    for module in (encoder, serve_utils):
        monkeypatch.setattr(module, "xgb", request_data.RecordingXgboost())
    body._counts_from_one.cache_clear()
    body.proved.cache_clear()


def assert_same(data, content_type):
    """Whether the base read it, whether the library did; fails where both did and differ, or the base did not."""
    rows = body.rows(data, content_type)
    try:
        matrix, _ = serve_utils.parse_content_data(data, content_type)
    except Exception:
        assert rows is None, data
        return False, False
    if rows is None:
        return True, False
    assert matrix.recorded is not None, data
    assert matrix.recorded.shape == (matrix.num_row(), matrix.num_col()) == rows.shape, data
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    expected = request_data.dense(matrix.recorded, matrix.num_col())
    known = ~np.isnan(expected)
    assert (known == ~np.isnan(rows)).all(), data
    assert (rows[known].view(np.uint32) == expected[known].view(np.uint32)).all(), data
    return True, True


@pytest.mark.parametrize("kind", sorted(body.SAMPLES))
def test_the_library_is_there_and_proved_on_this_base(kind):
    assert native.available()
    assert body.proved.__wrapped__(kind)
    native_reads = [body.rows(sample, kind) is not None for sample in body.SAMPLES[kind]]
    assert sum(native_reads) > len(native_reads) / 2


def test_a_base_that_reads_something_else_reads_all_of_it(monkeypatch, caplog):
    clean = encoder._clean_csv_string
    monkeypatch.setattr(encoder, "_clean_csv_string", lambda text, delimiter: [x or "0" for x in text.split(delimiter)])
    body.proved.cache_clear()
    assert body.rows(b"1,2", CSV) is None
    assert body.rows(b"0 0:1", LIBSVM) is not None
    assert "as the base does not: it reads no csv" in caplog.text
    monkeypatch.setattr(encoder, "_clean_csv_string", clean)
    body.proved.cache_clear()
    assert body.rows(b"1,2", CSV) is not None


@pytest.mark.filterwarnings("ignore")  # ragged rows on an old numpy
@pytest.mark.parametrize("kind", ["csv", "libsvm", "recordio"])
def test_bodies_of_a_grammar_are_read_as_by_the_base_or_not_at_all(kind):
    content_type = {"csv": CSV, "libsvm": LIBSVM, "recordio": RECORDIO}[kind]
    outcomes = [assert_same(getattr(Writer(seed), kind)(), content_type) for seed in range(BODIES)]
    assert BODIES / 20 < sum(base for base, _ in outcomes) < BODIES * 0.95
    assert sum(ours for _, ours in outcomes) > BODIES / 20


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("around", ["{}", "{},1", "1,{}", "1\n{}", "{}\n2", "1,{}\n{},2\r\n3,4"])
def test_every_spelling_in_every_place_of_csv(around):
    for spelling in SPELLINGS:
        assert_same(around.replace("{}", spelling).encode("utf-8"), CSV)


@pytest.mark.parametrize("around", ["0 0:{}", "1:{}", "0 1:{} 2:1\n0 5:{}\n", "1:{}\r\n2:1", "{} 0:1", "0 {}:1"])
def test_every_spelling_in_every_place_of_libsvm(around):
    for spelling in SPELLINGS:
        assert_same(around.replace("{}", spelling).encode("utf-8"), LIBSVM)


@pytest.mark.filterwarnings("ignore")
def test_any_short_text_of_the_characters_that_matter():
    choose = random.Random(7)
    for _ in range(4000):
        text = "".join(choose.choice("0123456789.,,--+eEn \n\r:\t;_") for _ in range(choose.randint(1, 12)))
        assert_same(text.encode("ascii"), choose.choice([CSV, CSV, LIBSVM]))


@pytest.mark.filterwarnings("ignore")
def test_what_the_base_sniffs_is_the_first_512_characters():
    for line in ["1" * 30 + ",2", "1,2", "-1e-5", "-1.5", "1;2", "1--", "0.5\r"]:
        for length in (0, 480, 509, 510, 511, 512, 513):
            assert_same(("0" * max(0, min(length, 250)) + "1," * (max(0, length - 250) // 2) + line).encode(), CSV)
            assert_same((line + "\n" + "1," * length).encode(), CSV)


PLAIN = {
    "one row": (b"1,2.5,-3e-2", CSV),
    "rows": (b"1,2\n3,4\n5,6\n", CSV),
    "one column": (b"1.5\n2\n-3\n", "text/csv; charset=utf-8"),
    "empty cells": (b",1,\n,,2\n", CSV),
    "CRLF": (b"1,2\r\n3,4\r\n", CSV),
    "blanks": (b"1, 2\n 3,4 \n", CSV),
    "17 digits": (b"0.12345678901234567,123456789012345678901234567890", CSV),
    "missing": (b"nan,1\nNaN,2", "csv"),
    "libsvm": (b"0 0:1 3:2.5\n1 1:4\n", LIBSVM),
    "libsvm from 1": (b"0 1:1 3:2.5\n1 2:4\n", "text/x-libsvm"),
    "libsvm without labels": (b"1:1 3:2.5\r\n2:4\r\n", None),
    "recordio": (_encoders.array_to_recordio_protobuf(np.float32([[1, 2], [3, np.nan]])), RECORDIO),
    "recordio, float64": (_encoders.array_to_recordio_protobuf(np.array([[1, 2], [3, 0.1]])), RECORDIO),
    "recordio, labels": (
        _encoders.array_to_recordio_protobuf(np.float32([[1, 2], [3, 4]]), np.float32([0, 1])),
        RECORDIO,
    ),
    "recordio, sparse": (
        _encoders.array_to_recordio_protobuf(scipy.sparse.csr_matrix(np.float32([[1, 0, 2], [0, 3, 0]]))),
        RECORDIO,
    ),
}


@pytest.mark.parametrize("name", sorted(PLAIN))
def test_plain_bodies_are_read(name):
    assert assert_same(*PLAIN[name]) == (True, True)


def test_halfway_cells_beyond_the_few_that_python_reads_are_the_bases():
    middle = str(Decimal(1 + 2.0**-24))
    cells = [middle + "0" * number for number in range(20)] + [middle[:-1] + str(digit) for digit in range(10)]
    assert assert_same(",".join(cells).encode(), CSV) == (True, True)
    assert assert_same(",".join(cells * 2).encode(), CSV) == (True, False)


def test_a_fix_of_libsvm_is_followed(monkeypatch):
    parse = serve_utils._get_sparse_matrix_from_libsvm
    unshifted = lambda payload: parse("0 0:0\n" + payload)[1:]  # noqa: E731 - as the fix libsvm-skew does
    monkeypatch.setattr(serve_utils, "_get_sparse_matrix_from_libsvm", unshifted)
    body._counts_from_one.cache_clear()
    assert body.rows(b"1 1:5 2:1\n0 2:3", LIBSVM).shape == (2, 3)
    assert assert_same(b"1 1:5 2:1\n0 2:3", LIBSVM) == (True, True)


def test_large_and_hostile_bodies_take_little():
    for data in (b"," * 2**20 + b"\n" * 2**20 + b"1", b"1," * 2**20 + b"\n1" * 2**20):
        assert body.rows(data, CSV) is None
    assert body.rows(b"0 0:1 99999999:1\n" * 1000, LIBSVM) is None
    assert body.rows(b"0 0:1 999999999999999999999:1", LIBSVM) is None
    record = Record()
    record.features["values"].float32_tensor.values.extend([1.0])
    record.features["values"].float32_tensor.keys.extend([2**31 - 2])
    record.features["values"].float32_tensor.shape.extend([2**31 - 1])
    message = record.SerializeToString()
    frame = struct.pack("<II", 0xCED7230A, len(message)) + message + b"\0" * (-len(message) % 4)
    assert body.rows(frame, RECORDIO) is None


def test_without_the_library_the_base_reads(monkeypatch):
    monkeypatch.setattr(native, "available", lambda: False)
    assert body.rows(b"1,2", CSV) is None


@pytest.mark.parametrize("content_type", ["application/json", "text/csv; label_size=2", "parquet", "", "x"])
def test_other_content_types_are_the_bases(content_type):
    assert body.rows(b"1,2", content_type) is None
