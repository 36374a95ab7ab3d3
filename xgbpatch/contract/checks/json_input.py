"""JSON requests: every form is answered as its rows in CSV, byte for byte, and what cannot be read is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from xgbpatch.contract import payloads, server
from xgbpatch.contract.checks import multi_model
from xgbpatch.contract.checks.serve import ok
from xgbpatch.contract.http import Request, difference, invocation
from xgbpatch.contract.jobs import NAMES
from xgbpatch.contract.model import require
from xgbpatch.contract.oracle import SAMPLE
from xgbpatch.contract.payloads import Row, csv
from xgbpatch.contract.server import Stack
from xgbpatch.contract.session import Session

JSON, LINES, CSV = "application/json", "application/jsonlines", "text/csv"


def forms(session: Session) -> str:
    """Lists, instances, features, one record and JSON Lines, a missing cell among them: the bytes of the same CSV."""
    rows = _with_a_hole(session.rows[:SAMPLE])
    cells = [_cells(row) for row in rows]
    bodies = {
        "lists": (json.dumps(cells), JSON),
        "instances": (json.dumps({"instances": cells}), f"{JSON}; charset=utf-8"),
        "features": (json.dumps({"instances": [{"features": row} for row in cells]}), JSON),
        "lines": ("\n".join(map(json.dumps, cells)), LINES),
        "lines of features": ("".join(json.dumps({"features": row}) + "\n" for row in cells), LINES),
    }
    for accept in ("", CSV, JSON):
        hold(session, server.PLAIN, csv(rows), bodies, accept)
    alone = {
        "one list": (json.dumps(cells[-1]), JSON),
        "one features": (json.dumps({"features": cells[-1]}), JSON),
    }
    hold(session, server.PLAIN, csv(rows[-1:]), alone, CSV)
    return f"{len(bodies) + len(alone)} forms, equal to CSV byte for byte"


def refusals(session: Session) -> str:
    """A body that cannot be read is 400 and says which record and field; one without a record is 204."""
    good = _cells(session.rows[0])
    cases = (
        ("no JSON", json.dumps([good])[:-2], 400, "Record 1"),
        ("a text in a cell", json.dumps([good, ["a", *good[1:]]]), 400, "Record 2, field 1 is a text"),
        ("too few values", json.dumps([good, good[1:]]), 400, f"Record 2 has {len(good) - 1} column"),
        ("too many values", json.dumps({"features": [*good, 1.0]}), 400, f"the model has {len(good)}"),
        ("no records", '{"instances": []}', 204, ""),
    )
    for why, body, status, message in cases:
        answer = session.server(server.PLAIN).ask(invocation(body.encode(), JSON))
        require(
            answer.status == status and message in answer.text, f'{why}: answered {answer}, not {status} "{message}"'
        )
    return ", ".join(f"{why} {status}" for why, _, status, _ in cases)


def names(session: Session) -> str:
    """Objects by feature name in batch transform: put in the model's order, a name left out is a missing cell."""
    rows = _with_a_hole(payloads.abalone_rows()[:SAMPLE])
    objects = [dict(reversed(list(zip(NAMES, row, strict=True)))) for row in rows]
    objects = [{name: value for name, value in each.items() if not math.isnan(value)} for each in objects]
    bodies = {
        "objects": (json.dumps(objects), JSON),
        "lines of objects": ("\n".join(map(json.dumps, objects)), LINES),
    }
    hold(session, server.JSON_NAMED, csv(rows), bodies, JSON)
    wrong = json.dumps([objects[0], {**objects[1], "no such feature": 1}]).encode()
    answer = session.server(server.JSON_NAMED).ask(invocation(wrong, JSON))
    message = 'Record 2, field "no such feature"'
    require(answer.status == 400 and message in answer.text, f"an unknown name: answered {answer}, not 400 ({message})")
    return f"{len(rows)} lines for {len(rows)} objects, equal to CSV byte for byte"


def from_multi_model(session: Session) -> str:
    """A multi-model server takes the same requests."""
    multi_model.ensure_loaded(session)
    rows = session.rows[:SAMPLE]
    cells = [_cells(row) for row in rows]
    bodies = {
        "instances": (json.dumps({"instances": cells}), JSON),
        "lines": ("\n".join(map(json.dumps, cells)), LINES),
    }
    hold(session, server.MULTI_MODEL, csv(rows), bodies, JSON, multi_model.INVOKE)
    refused = replace(invocation(b"[[]]", JSON), path=multi_model.INVOKE)
    answer = session.server(server.MULTI_MODEL).ask(refused)
    require(answer.status == 400 and "Record 1" in answer.text, f"an empty record: answered {answer}, not 400")
    return f"{len(bodies)} forms, equal to CSV byte for byte"


def hold(
    session: Session,
    stack: Stack,
    as_csv: bytes,
    bodies: Mapping[str, tuple[str, str]],
    accept: str,
    path: str = Request().path,
) -> None:
    """Raise `Violation` where one of `bodies` (text and type) is not answered as the CSV is."""
    expected = ok(session, stack, replace(invocation(as_csv, CSV, accept), path=path))
    for form, (body, kind) in bodies.items():
        answer = session.server(stack).ask(replace(invocation(body.encode(), kind, accept), path=path))
        differs = difference(expected, answer)
        require(not differs, f"{form}, accept {accept or 'none'}: {differs}")


def _with_a_hole(rows: Sequence[Row]) -> list[Row]:
    """`rows`, whose first lacks its first cell, where there are others."""
    first = (math.nan, *rows[0][1:]) if len(rows[0]) > 1 else rows[0]
    return [first, *rows[1:]]


def _cells(row: Row) -> list[float | None]:
    return [None if math.isnan(value) else value for value in row]
