"""Patched image and base, asked the same: each answer is the base's, byte for byte, but for what the image says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from xgbpatch.contract import payloads
from xgbpatch.contract.checks import multi_model as checks_multi_model
from xgbpatch.contract.checks import serve
from xgbpatch.contract.checks.image import base_of
from xgbpatch.contract.http import Answer, Request, invocation
from xgbpatch.contract.model import Violation
from xgbpatch.contract.payloads import CONTENT_TYPES, Row, csv, libsvm
from xgbpatch.contract.server import MULTI_MODEL, SELECTED, SMALL_LIMIT, Stack, settled
from xgbpatch.contract.session import Session


@dataclass(frozen=True)
class Exchange:
    """A request to the server of `stack`, and what the base answered."""

    stack: Stack
    request: Request
    base: Answer

    def header(self, name: str) -> str:
        return next((value for named, value in self.request.headers if named.lower() == name), "")


def changed_by(exchange: Exchange, fixes: Iterable[str]) -> str:
    """The one of `fixes` that may change the base's answer, or nothing."""
    return next((name for name in sorted(fixes) if name in _RULES and _RULES[name](exchange)), "")


def _shifted(exchange: Exchange) -> bool:
    """A libsvm body in which no index is 0: the base that has the bug reads it shifted, whatever it answers."""
    kind = exchange.header("content-type").partition(";")[0].strip().lower()
    words = exchange.request.body.decode("utf-8", "replace").split()
    indices = [word.partition(":")[0] for word in words if ":" in word]
    invokes = exchange.request.path.endswith("/invocations") or exchange.request.path.endswith("/invoke")
    libsvm = kind in ("", "libsvm", "text/libsvm", "text/x-libsvm")
    return invokes and libsvm and bool(indices) and all(index.isdecimal() and int(index) > 0 for index in indices)


def _unwritten(exchange: Exchange) -> bool:
    """An answer in a type that the base accepts, and fails to write."""
    accept = exchange.header("accept").lower()
    types = ("application/jsonlines", "application/x-recordio-protobuf")
    return exchange.base.status == 500 and accept in types and exchange.stack is not MULTI_MODEL


def _repeating(exchange: Exchange) -> bool:
    """recordio-protobuf of selected keys."""
    recordio = exchange.header("accept").lower() == "application/x-recordio-protobuf"
    return exchange.stack is SELECTED and recordio and exchange.base.status == 200


def _unavailable(exchange: Exchange) -> bool:
    """The 503 that a multi-model server answers to every bad request."""
    return exchange.stack is MULTI_MODEL and exchange.base.status == 503


_RULES: dict[str, Callable[[Exchange], bool]] = {
    "libsvm-skew": _shifted,
    "jsonlines-accept": _unwritten,
    "recordio-growth": _repeating,
    "mme-errors": _unavailable,
}


# Two answers held against each other, byte for byte.


# Different on every request by their nature.
_VOLATILE_HEADERS = frozenset({"date", "server-timing", "x-request-id", "x-amzn-requestid"})


# Addresses of a C stack and the clock, which xgboost puts in the text of an error.
_VOLATILE_TEXT = re.compile(rb"0x[0-9a-f]+|\[\d\d:\d\d:\d\d\]")
_AROUND = 30
ENGINE_HEADER = "x-xgbpatch-engine"  # of /ping: what the feature daal4py says of itself where it was switched on


def difference(base: Answer, patched: Answer, added: frozenset[str] = frozenset()) -> str:
    """What differs in status, headers or body, or nothing; a successful body may not differ in a single byte.

    `added` are headers that a feature adds, and that may stand in `patched` alone.
    """
    if base.status != patched.status:
        return f"status: base {base}, patched {patched}"
    return _headers(base, patched, added) or _body(base, patched)


def _headers(base: Answer, patched: Answer, added: frozenset[str]) -> str:
    names = sorted({*base.headers, *patched.headers} - _VOLATILE_HEADERS - (added - {*base.headers}))
    differing = [name for name in names if _header(base, name) != _header(patched, name)]
    if differing == ["content-length"] and not _body(base, patched):
        return ""  # the text of an error with an address one digit longer
    return "; ".join(f"header {name}: base {_said(base, name)}, patched {_said(patched, name)}" for name in differing)


def _body(base: Answer, patched: Answer) -> str:
    left, right = _comparable(base), _comparable(patched)
    if left == right:
        return ""
    pairs = enumerate(zip(left, right, strict=False))
    shared = next((at for at, (one, other) in pairs if one != other), min(len(left), len(right)))
    window = slice(max(0, shared - _AROUND), shared + _AROUND)
    return f"body from byte {shared}: base {left[window]!r}, patched {right[window]!r}"


def _comparable(answer: Answer) -> bytes:
    return answer.body if answer.status == 200 else _VOLATILE_TEXT.sub(b"0x", answer.body)


def _header(answer: Answer, name: str) -> str | None:
    value = answer.headers.get(name)
    if name == "allow" and value is not None:  # a set, in the order of this process's hash seed
        return ", ".join(sorted(value.split(", ")))
    return value


def _said(answer: Answer, name: str) -> str:
    return f'"{answer.headers[name]}"' if name in answer.headers else "absent"


# The requests that `--against-base` sends to base and patched alike: one table a stack.


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
    invocations = [replace(question, request=replace(question.request, path=f"{path}/invoke"))
             for question in [*matrix(rows[:3], ("", CSV, JSON)), *bodies(rows)[:4], *_refused(rows)]]  # fmt: skip
    return [
        Question("list before", Request(path="/models")), Question("load", load), Question("load again", load),
        Question("list", Request(path="/models")), *invocations,
        Question("execution parameters", Request(path="/execution-parameters")),
        Question("unload", Request("DELETE", path)), Question("invoke after unload", Request("POST", f"{path}/invoke")),
        Question("unload unknown", Request("DELETE", "/models/no-such")),
    ]  # fmt: skip


def _refused(rows: tuple[Row, ...]) -> list[Question]:
    """Requests that a multi-model server refuses."""
    return [Question(case.why, case.request) for case in serve.refusals(rows[0]) if case.request.method == "POST"]


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


# Checks that a patched image answers as its base does, byte for byte, to requests that ask for nothing new.


_SHOWN = 3  # differences in one reason


def same_answers(stack: Stack, table: Callable[[tuple[Row, ...]], list[Question]]) -> Callable[[Session], str]:
    """The check that `stack` answers `table` as the base does."""

    def observe(session: Session) -> str:
        rows = session.rows if stack.foreign else payloads.abalone_rows()
        return _compare(session, stack, table(rows))

    return observe


def same_multi_model(session: Session) -> str:
    """A model's whole life on the multi-model server."""
    table = multi_model(session.rows, checks_multi_model.NAME, checks_multi_model.LOAD)
    return _compare(session, MULTI_MODEL, table)


def _compare(session: Session, stack: Stack, questions: list[Question]) -> str:
    base_image = base_of(session)
    session.warm(stack, base_image)
    base, patched = session.server(stack, base_image), session.server(stack)
    asked = frozenset({ENGINE_HEADER} if "daal4py" in session.carried.features else ())
    differences, repaired = [], 0
    for question in questions:
        answer = settled(base, question.request)
        differs = difference(answer, settled(patched, question.request), asked)
        if differs and changed_by(Exchange(stack, question.request, answer), session.carried.fixes):
            repaired += 1
        elif differs:
            differences.append(f"{question.name} ({question.request}): {differs}")
    if differences:
        more = f"; and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        first = "; ".join(differences[:_SHOWN])
        raise Violation(f"{len(differences)} of {len(questions)} answers differ: {first}{more}")
    but = f", but for {repaired} that show a bug whose fix the image carries" if repaired else ""
    return f"{len(questions)} answers, equal byte for byte{but}"
