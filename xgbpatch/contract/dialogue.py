"""The requests that `--against-base` sends to base and patched alike: one table a stack."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from xgbpatch.contract import refusal
from xgbpatch.contract.exchange import Request, invocation
from xgbpatch.contract.payload import CONTENT_TYPES, Row, csv, libsvm
from xgbpatch.contract.server import SMALL_LIMIT

JSON, LINES, CSV, RECORDIO = (
    "application/json", "application/jsonlines", "text/csv", "application/x-recordio-protobuf",
)  # fmt: skip
ACCEPTS = ("", "*/*", CSV, JSON, LINES, RECORDIO)


@dataclass(frozen=True)
class Question:
    """A request, and what it is in words."""

    name: str
    request: Request


def plain(rows: tuple[Row, ...]) -> list[Question]:
    """Content types × accepts, odd bodies, odd headers, and every refusal."""
    crossed = [*matrix(rows[:7], ACCEPTS), *matrix(rows[:1], ("", JSON))]
    return [*crossed, *bodies(rows), *headers(rows[:2]), *refusals(rows)]


def reduced(rows: tuple[Row, ...]) -> list[Question]:
    """Content types × accepts, and the refusals: for the stacks that differ in their answers' form only."""
    return [*matrix(rows[:5], ("", CSV, JSON, LINES, RECORDIO)), *refusals(rows)]


def limited(rows: tuple[Row, ...]) -> list[Question]:
    """The same, and bodies around a small MAX_CONTENT_LENGTH."""
    sizes = (SMALL_LIMIT, SMALL_LIMIT + 1, 2 * SMALL_LIMIT)
    return reduced(rows) + [Question(f"a body of {size} bytes", invocation(b"1" * size, CSV)) for size in sizes]


def multi_model(rows: tuple[Row, ...], name: str, load: Request) -> list[Question]:
    """A model's life on a multi-model server, in order."""
    path = f"/models/{name}"
    asked = [replace(question, request=replace(question.request, path=f"{path}/invoke"))
             for question in [*matrix(rows[:3], ("", CSV, JSON)), *bodies(rows)[:4], *_refused(rows)]]  # fmt: skip
    return [
        Question("list before", Request(path="/models")), Question("load", load), Question("load again", load),
        Question("list", Request(path="/models")), *asked,
        Question("execution parameters", Request(path="/execution-parameters")),
        Question("unload", Request("DELETE", path)), Question("invoke after unload", Request("POST", f"{path}/invoke")),
        Question("unload unknown", Request("DELETE", "/models/no-such")),
    ]  # fmt: skip


def _refused(rows: tuple[Row, ...]) -> list[Question]:
    """Requests that a multi-model server refuses."""
    return [Question(case.why, case.request) for case in refusal.table(rows[0]) if case.request.method == "POST"]


def matrix(rows: tuple[Row, ...], accepts: Iterable[str]) -> list[Question]:
    """Every content type × `accepts` on the same rows."""
    return [
        Question(f"{name} to {accept or 'no accept'}, {len(rows)} rows",
                 invocation(kind.encode(rows), kind.header, accept))
        for name, kind in CONTENT_TYPES.items() for accept in accepts
    ]  # fmt: skip


def bodies(rows: tuple[Row, ...]) -> list[Question]:
    """Bodies that are valid in odd ways, and some that are not."""
    few = csv(rows[:3])
    holes = tuple((*row[:2], float("nan"), *row[3:]) for row in rows[:3])
    as_csv = {
        "many rows": csv(rows), "trailing newline": few + b"\n", "CRLF": few.replace(b"\n", b"\r\n"),
        "semicolons": few.replace(b",", b";"), "tabs": few.replace(b",", b"\t"), "missing cells": csv(holes),
        "one column short": csv([row[:-1] for row in rows[:3]]), "exponents": csv([tuple(v * 1e-5 for v in rows[0])]),
        "a header row": b"a,b,c\n" + few, "a blank line": few.replace(b"\n", b"\n\n"), "spaces": b"  " + few + b"  ",
        "ragged rows": few + b"\n1,2", "bytes that are no UTF-8": b"\xff\xfe\x00",
        "infinity": csv([tuple(float("inf") for _ in rows[0])]),
    }  # fmt: skip
    as_libsvm = {
        "indices from 1": b"0 1:2 2:0.5 3:0.4", "labels absent": b"0:1 2:3", "blank line": libsvm(rows[:2]) + b"\n\n",
        "an index too large": b"0 0:1 99999:1", "double spaces": b"0  0:1  2:3", "one column": b"0:1",
    }  # fmt: skip
    return [Question(f"csv, {name}", invocation(body, CSV)) for name, body in as_csv.items()] + [
        Question(f"libsvm, {name}", invocation(body, "text/x-libsvm")) for name, body in as_libsvm.items()
    ]


def headers(rows: tuple[Row, ...]) -> list[Question]:
    """Headers that are read in a way of their own."""
    body = csv(rows)
    types = ("", "csv", "TEXT/CSV", "text/csv; charset=utf-8", "text/csv; label_size=1", "application/x-parquet",
             "application/x-www-form-urlencoded", "application/json")  # fmt: skip
    accepts = ("text/csv, application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "json", "text/*")
    return [Question(f"content type {kind!r}", invocation(body, kind)) for kind in types] + [
        Question(f"accept {accept!r}", invocation(body, CSV, accept)) for accept in accepts
    ]


def refusals(rows: tuple[Row, ...]) -> list[Question]:
    """Every documented refusal, and the paths beside /invocations."""
    paths = [
        Question("ping", Request(path="/ping")), Question("parameters", Request(path="/execution-parameters")),
        Question("POST on ping", Request("POST", "/ping")), Question("PUT", Request("PUT", body=b"1")),
        Question("HEAD", Request("HEAD", "/ping")), Question("OPTIONS", Request("OPTIONS")),
    ]  # fmt: skip
    return [Question(case.why, case.request) for case in refusal.table(rows[0])] + paths
