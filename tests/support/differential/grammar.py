"""Requests to an endpoint as hypothesis writes them: sound ones, odd ones, and ones that no server should like."""

from __future__ import annotations

import gzip
import random
import struct
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from support.differential import records
from xgbpatch.contract import payloads
from xgbpatch.contract.http import Request

CSV, LIBSVM, RECORDIO = "text/csv", "text/libsvm", "application/x-recordio-protobuf"
CUSTOM = "X-Amzn-SageMaker-Custom-Attributes"
TYPES = {
    CSV: (CSV, "csv", "TEXT/CSV", "text/csv; charset=utf-8", "text/csv;label_size=1", "text/csv; header=absent"),
    LIBSVM: (LIBSVM, "libsvm", "text/x-libsvm", "Text/X-LibSVM; a=b"),
    RECORDIO: (RECORDIO, "recordio-protobuf", "application/x-recordio-protobuf; a=b"),
}
WRONG_TYPES = (
    "application/json", "application/jsonlines", "application/x-parquet", "parquet", "application/x-npy", "text/plain",
    "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/csv; label_size=0", "text/csv;",
    "text/csv; label_size=one", "text/csv, text/libsvm", ";", "/", "text/", "text/csv; charset", "\xe9", "*/*",
)  # fmt: skip
ACCEPTS = (
    "", "*/*", "text/csv", "text/csv", "application/json", "application/json", "application/jsonlines", RECORDIO,
)  # fmt: skip
ODD_ACCEPTS = (
    "csv", "json", "TEXT/CSV", "Application/JSON", "application/json; charset=utf-8", "text/csv;q=0.5",
    "text/csv, application/json", "application/json;q=0.9, */*;q=0.1", "text/*", "image/png", "application/x-npy",
    "application/x-recordio-protobuf;a=b", ";", ",", "null", "\xe9", "application/jsonlines; a=b",
)  # fmt: skip
ATTRIBUTES = (
    "shap=on", "shap=on", "shap=on", "shap=on", "shap=off", "shap=on;top_k=2", "shap=on; header=on",
    "shap=maybe", "shap=on;top_k=0", "shap=on;space=probability", "top_k=3;space=probability", "trace=0f5a4dbb",
    "shap", "=;=", "a,b;c=d", "\xe9",
)  # fmt: skip
PATHS = (
    "/ping", "/execution-parameters", "/", "/invocations/", "/invocations?a=b", "//invocations", "/INVOCATIONS",
    "/invocations%20", "/invocation", "/ping/", "/ping?x", "/models", "/models/x/invoke", "/static/x", "/../ping",
    "/execution-parameters/x", "/pingx", "/invocations/../ping", "/%00", "/invocations;a=b", "/favicon.ico",
    "/./ping", "/ping/../../x", "/ping/../x", "/%2e%2E/ping", "/x%2f..%2Fping", "/%70ing", "/%zz", "/ping%",
    "/ping/%ff",
)  # fmt: skip
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW", "get")
CELLS = (
    "", "nan", "NaN", "NA", "inf", "-inf", "Infinity", "1e5", "1E-7", "1e400", "-1e400", "1e39", "3.4028235e38",
    "1e-46", "-0.0", "+1", " 1", "1 ", "1_000", "0x10", ".5", "5.", "1e", "abc", "None", "True", '"1"', "'1'", "1,5",
    "123456789012345678901234567890", "0.1234567890123456789", "-", "e", "\u00b5", "\u0661", "0b1", "1d3", "#1",
)  # fmt: skip
WIDEST = 12  # cells of a row that hypothesis writes one by one
SOUND_CELLS = st.floats(-4, 4, width=32).map(lambda value: repr(round(float(value), 3)))


@dataclass(frozen=True)
class Subject:
    """What requests are written for: the width of the model, and where it is invoked."""

    features: int
    path: str = "/invocations"


def requests(subject: Subject) -> st.SearchStrategy[Request]:
    """Two of three are invocations that most models take; the others have something odd."""
    return st.one_of(sound(subject), sound(subject), sound(subject), odd(subject), odd(subject), elsewhere(subject))


@st.composite
def sound(draw: st.DrawFn, subject: Subject) -> Request:
    """A good body of one of the three types, under one of its names, for an Accept of the base's."""
    kind = draw(st.sampled_from((CSV, CSV, LIBSVM, RECORDIO)))
    body = draw({CSV: plain_csv, LIBSVM: plain_libsvm, RECORDIO: plain_recordio}[kind](subject))
    headers = [("Content-Type", draw(st.sampled_from(TYPES[kind]))), ("Accept", draw(st.sampled_from(ACCEPTS)))]
    return _post(draw, subject, headers, body)


@st.composite
def odd(draw: st.DrawFn, subject: Subject) -> Request:
    """Any body, mostly under its own type, for any Accept, whole or in chunks."""
    own, wild = draw(st.sampled_from(WILD))
    body = draw(wild(subject))
    every = [name for names in TYPES.values() for name in names]
    kind = draw(st.one_of(*[st.sampled_from(names) for names in (TYPES[own], TYPES[own], every, ("", *WRONG_TYPES))]))
    headers = [("Content-Type", kind), ("Accept", draw(st.sampled_from((*ACCEPTS, *ACCEPTS, *ODD_ACCEPTS))))]
    more = draw(st.sampled_from(("", "", "", "", "Transfer-Encoding: chunked", "Content-Encoding: gzip", "X-A: b")))
    if more:
        headers.append(tuple(more.split(": ")))
    if more == "Content-Encoding: gzip":
        body = gzip.compress(body, mtime=0)
    return _post(draw, subject, headers, body)


@st.composite
def elsewhere(draw: st.DrawFn, subject: Subject) -> Request:
    """Any method on any path."""
    method, path = draw(st.sampled_from(METHODS)), draw(st.sampled_from((subject.path, *PATHS)))
    body = draw(st.sampled_from((b"", b"", b"1,2,3"))) if method not in ("GET", "HEAD", "TRACE") else b""
    headers = [("Content-Type", draw(st.sampled_from(("", CSV)))), ("Accept", draw(st.sampled_from(("", *ACCEPTS))))]
    return Request(method, path, tuple(header for header in headers if header[1]), body)


def _post(draw: st.DrawFn, subject: Subject, headers: list[tuple[str, str]], body: bytes) -> Request:
    attributes = draw(st.one_of(st.just(""), st.sampled_from(ATTRIBUTES)))
    named = [*headers, (CUSTOM, attributes)]
    return Request("POST", subject.path, tuple(header for header in named if header[1]), body)


def _rows(subject: Subject, missing: float = 0.1) -> st.SearchStrategy[np.ndarray]:
    """float64 (n, features), few decimals, at least one number a row."""

    def made(seed: int) -> np.ndarray:
        numbers = np.random.RandomState(seed)
        x = np.round(numbers.standard_normal((1 + seed % 6, subject.features)), 3)
        x[numbers.rand(*x.shape) < missing * (seed % 3)] = np.nan
        x[:, 0] = np.nan_to_num(x[:, 0], nan=0.5)
        return x

    return st.integers(0, 2**20).map(made)


@st.composite
def plain_csv(draw: st.DrawFn, subject: Subject) -> bytes:
    """Rows with empty cells for what is missing; a delimiter and an end of line of its own."""
    rows = draw(_rows(subject))
    delimiter = draw(st.sampled_from(",,,;\t|"))
    end = draw(st.sampled_from(("\n", "\n", "\r\n")))
    lines = [delimiter.join("" if np.isnan(cell) else repr(float(cell)) for cell in row) for row in rows]
    return (end.join(lines) + draw(st.sampled_from(("", end)))).encode()


@st.composite
def plain_libsvm(draw: st.DrawFn, subject: Subject) -> bytes:
    """0-based, a label before it or not, the last column always there."""
    rows = draw(_rows(subject, 0.3))
    rows[0, -1] = np.nan_to_num(rows[0, -1], nan=1.0)
    label = draw(st.sampled_from(("0 ", "1 ", "")))
    cells = [" ".join(f"{i}:{float(v)!r}" for i, v in enumerate(row) if not np.isnan(v)) for row in rows]
    return "\n".join(label + line for line in cells).encode()


@st.composite
def plain_recordio(draw: st.DrawFn, subject: Subject) -> bytes:
    return payloads.recordio(draw(_rows(subject, 0.0)).tolist())


@st.composite
def wild_csv(draw: st.DrawFn, subject: Subject) -> bytes:
    """Header lines, ragged rows, blank lines, cells that are hardly numbers."""
    full = min(subject.features, WIDEST)
    width = st.sampled_from((full, full, full - 1, full + 1, 1, 0))
    cells = st.one_of(SOUND_CELLS, SOUND_CELLS, SOUND_CELLS, st.sampled_from(CELLS))
    columns, ragged = draw(width), draw(st.integers(0, 4)) == 0
    delimiter = draw(st.sampled_from((",", ",", ";", "\t", "|", ":", " ", ", ", ",,", "-")))
    lines = []
    for _ in range(draw(st.integers(0, 3))):
        size = draw(width) if ragged else columns
        wild = draw(st.integers(0, 2)) == 0
        lines.append(delimiter.join(draw(st.lists(cells if wild else SOUND_CELLS, min_size=size, max_size=size))))
    head = draw(st.sampled_from(("", "", "", "", "a,b,c\n", "\ufeff", "\n\n", "  ", "#", ",\n")))
    end = draw(st.sampled_from(("\n", "\n", "\r\n", "\r", "\n\n", " \n", ",\n")))
    tail = draw(st.sampled_from((b"", b"", b"\n", b"\r\n", b" ", b"\xff\xfe", b"\0", b"\x1a", b"\n,,,")))
    return (head + end.join(lines)).encode() + tail


@st.composite
def wild_libsvm(draw: st.DrawFn, subject: Subject) -> bytes:
    """1-based, unsorted, doubled, far too large and malformed indices."""
    strange = ("1:", ":2", "a:1", "1:a", "-1:2", "1.5:2", "2147483648:1", "99999:1", "1:2:3", "1:nan", "1:inf", "qid:1",
               "1:1e400", "# note", "1:1_0", "0:\u0661", ":", "::", "")  # fmt: skip
    index = st.integers(draw(st.sampled_from((0, 1, 1))), subject.features)
    token = st.builds("{}:{}".format, index, SOUND_CELLS)
    lines = []
    for _ in range(draw(st.integers(0, 3))):
        cells = draw(st.lists(token, max_size=5))
        if draw(st.integers(0, 3)) == 0:
            cells.insert(draw(st.integers(0, len(cells))), draw(st.sampled_from(strange)))
        order = draw(st.sampled_from((sorted, list)))
        lines.append(draw(st.sampled_from(("0", "1", "", "1.5", "a"))) + " " + " ".join(order(cells)))
    space = draw(st.sampled_from((" ", " ", "  ", "\t")))
    end = draw(st.sampled_from(("\n", "\n", "\n\n", "\r\n")))
    return end.join(lines).replace(" ", space).encode()


@st.composite
def wild_recordio(draw: st.DrawFn, subject: Subject) -> bytes:
    """Dense and sparse, of another width, with an empty record, cut off, or with a wrong frame."""
    count = draw(st.integers(0, 3))
    stream = b""
    for _ in range(count):
        size = draw(
            st.sampled_from((subject.features, subject.features, subject.features - 1, subject.features + 1, 0))
        )
        values = [float(cell) for cell in draw(st.lists(SOUND_CELLS, min_size=size, max_size=size))]
        keys = draw(st.sampled_from((None, None, range(size), range(1, size + 1), range(size, 0, -1))))
        if keys is None:
            whole = payloads.recordio([values])
        else:  # a key beyond the shape writes beyond the base's heap, and the answer is anything
            whole = records.sparse(values, keys, max([subject.features - 1, *keys]) + 1)
        stream += whole
    damage = draw(st.sampled_from(("", "", "", "cut", "flip", "length", "tail")))
    if damage == "cut":
        return stream[: draw(st.integers(0, len(stream)))]
    if damage == "flip" and stream:
        at = draw(st.integers(0, len(stream) - 1))
        return stream[:at] + bytes([stream[at] ^ 1 << draw(st.integers(0, 7))]) + stream[at + 1 :]
    if damage == "length" and stream:
        return stream[:4] + struct.pack("<I", draw(st.sampled_from((0, 1, 2**31, 2**32 - 1)))) + stream[8:]
    return stream + (b"\0\0\0" if damage == "tail" else b"")


def garbage(_: Subject) -> st.SearchStrategy[bytes]:
    """Bytes, text, JSON, nothing, and 300 kB of digits."""
    noise = random.Random(5).randbytes(2000)
    fixed = (b"", b" ", b"\n", b"{}", b'{"instances": [[1, 2]]}', b"[[1,2],[3,4]]", b"\x80\x03.", noise, b"1" * 300_000)
    return st.one_of(st.sampled_from(fixed), st.binary(max_size=40), st.text(max_size=20).map(str.encode))


WILD = ((CSV, wild_csv), (CSV, wild_csv), (LIBSVM, wild_libsvm), (RECORDIO, wild_recordio), (CSV, garbage))
