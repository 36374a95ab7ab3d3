"""Patched image and base, asked the same: each answer is the base's, byte for byte, but for what the image says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from xgbpatch.contract import payloads
from xgbpatch.contract.checks import multi_model, serve
from xgbpatch.contract.checks.image import base_of
from xgbpatch.contract.http import ENGINE_HEADER, Answer, Request, difference, invocation
from xgbpatch.contract.model import Violation
from xgbpatch.contract.payloads import CONTENT_TYPES, Row, csv, libsvm
from xgbpatch.contract.server import MULTI_MODEL, SELECTED, SMALL_LIMIT, Stack, settled
from xgbpatch.contract.session import Session

JSON, LINES, CSV, RECORDIO = (
    "application/json", "application/jsonlines", "text/csv", "application/x-recordio-protobuf",
)  # fmt: skip
ACCEPTS = ("", "*/*", CSV, JSON, LINES, RECORDIO)
_LIBSVM = ("", "libsvm", "text/libsvm", "text/x-libsvm")
_DELIMITER = re.compile("[,;\t|]")
_SHOWN = 3  # differences in one reason


def changed_by(names: Iterable[str], stack: Stack, request: Request, base: Answer, width: int) -> str:
    """The fix or feature among `names` that may change what the base answered to a request to the server of `stack`.

    `width` is the number of the model's columns.
    """
    return next((name for name in sorted(names) if _concerns(name, stack, request, base, width)), "")


def _concerns(name: str, stack: Stack, request: Request, base: Answer, width: int) -> bool:
    """Whether the base's answer, or the request, shows the bug that the fix repairs, or asks for the feature."""
    headers = {name.lower(): value.lower() for name, value in request.headers}
    accept = headers.get("accept", "")
    kind = headers.get("content-type", "").partition(";")[0].strip()
    match name:
        case "libsvm-skew" | "empty-rows" | "row-width":
            invokes = request.path.endswith(("/invocations", "/invoke"))
            return invokes and _body_shows_bug(name, kind, request.body.decode("utf-8", "replace"), width)
        case "jsonlines-accept":  # an answer in a type that the base accepts, and fails to write
            return base.status == 500 and accept in (LINES, RECORDIO) and stack is not MULTI_MODEL
        case "recordio-growth" | "objectives":  # selected keys, as recordio-protobuf or of an unknown objective
            refused = base.status == 500 and "unsupported for selectable inference" in base.text
            known = accept == RECORDIO and base.status == 200
            return stack is SELECTED and (refused if name == "objectives" else known)
        case "json-input":  # a type that the base does not know
            return kind in (JSON, LINES) and base.status in (415, 503)
        case "mme-errors":  # the 503 that a multi-model server answers to every bad request
            return stack is MULTI_MODEL and base.status == 503
        case _:
            return False


def _body_shows_bug(fix: str, kind: str, text: str, width: int) -> bool:
    """Whether the base misreads `text`, a body of the content type `kind`, by the bug that `fix` repairs."""
    if fix == "row-width":  # a line with more or fewer cells than the model has columns
        cells = {len(_DELIMITER.split(line)) for line in text.strip().split("\n")}
        return kind in ("csv", CSV) and bool(text) and cells != {width}
    if fix == "empty-rows":  # a line without a feature
        return kind in _LIBSVM and any(":" not in line for line in text.removesuffix("\n").split("\n"))
    # libsvm-skew, a body in which no index is 0: the base that has the bug reads it shifted
    indices = [word.partition(":")[0] for word in text.split() if ":" in word]
    return kind in _LIBSVM and bool(indices) and all(index.isdecimal() and int(index) > 0 for index in indices)


# The requests that `--against-base` sends to base and patched alike: one table a stack.


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


def whole_life(rows: tuple[Row, ...]) -> list[Question]:
    """A model's life on a multi-model server, in order."""
    refused = [Question(case.why, case.request) for case in serve.refusals(rows[0]) if case.request.method == "POST"]
    single = [*matrix(rows[:3], ("", CSV, JSON)), *bodies(rows)[:4], *refused]
    invocations = [replace(each, request=replace(each.request, path=multi_model.INVOKE)) for each in single]
    load = Question("load", multi_model.LOAD)
    return [
        Question("list before", Request(path="/models")),
        load,
        replace(load, name="load again"),
        Question("list", Request(path="/models")),
        *invocations,
        Question("execution parameters", Request(path="/execution-parameters")),
        Question("unload", Request("DELETE", f"/models/{multi_model.NAME}")),
        Question("invoke after unload", Request("POST", multi_model.INVOKE)),
        Question("unload unknown", Request("DELETE", "/models/no-such")),
    ]


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
    return [Question(case.why, case.request) for case in serve.refusals(rows[0])] + paths


# The checks: nothing that was not asked for changes an answer.


def same_answers(stack: Stack, table: Callable[[tuple[Row, ...]], list[Question]]) -> Callable[[Session], str]:
    """The check that `stack` answers `table` as the base does."""

    def observe(session: Session) -> str:
        base_image = base_of(session)
        session.warm(stack, base_image)
        base, patched = session.server(stack, base_image), session.server(stack)
        if stack is MULTI_MODEL:
            multi_model.ensure_unloaded(session)
        added = frozenset({ENGINE_HEADER} if "daal4py" in session.carried.features else ())
        carried = session.carried.fixes | session.carried.features
        rows = session.rows if stack.foreign else payloads.abalone_rows()
        questions, width = table(rows), len(rows[0])
        differences, repaired = [], 0
        for question in questions:
            answer = settled(base, question.request)
            differs = difference(answer, settled(patched, question.request), added)
            if differs and changed_by(carried, stack, question.request, answer, width):
                repaired += 1
            elif differs:
                differences.append(f"{question.name} ({question.request}): {differs}")
        if differences:
            more = f"; and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
            first = "; ".join(differences[:_SHOWN])
            raise Violation(f"{len(differences)} of {len(questions)} answers differ: {first}{more}")
        but = f", but for {repaired} that a fix or a feature of the image concerns" if repaired else ""
        return f"{len(questions)} answers, equal byte for byte{but}"

    return observe
