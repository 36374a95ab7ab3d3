"""Checks of batch transform: SAGEMAKER_BATCH is set, and responses are joined by lines."""

from __future__ import annotations

import ast
from itertools import product

from xgbpatch.contract.exchange import Answer, invocation
from xgbpatch.contract.finding import Violation, require
from xgbpatch.contract.payload import CONTENT_TYPES, Row
from xgbpatch.contract.refusal import LIMIT
from xgbpatch.contract.serve import equal, execution, ok
from xgbpatch.contract.server import BATCH, PAYLOAD_MEGABYTES
from xgbpatch.contract.session import Session
from xgbpatch.contract.truth import SAMPLE

_DIGITS = 300  # a column of the large body, in characters


def lines(session: Session) -> str:
    """One line a record, each ended by a newline, for every content type and whatever the Accept (facts 2.4)."""
    rows = session.rows[:SAMPLE]
    expected = session.truth(BATCH, len(rows)).served
    for kind, accept in product(CONTENT_TYPES.values(), ("", "text/csv", "application/json")):
        answer = ok(session, BATCH, invocation(kind.encode(rows), kind.header, accept))
        require(answer.body.endswith(b"\n"), f"{kind.header}: answered {answer}, without a newline after the last row")
        equal(_scores(answer), expected)
    return f"{len(rows)} lines for {len(rows)} rows, equal to the booster's, in {', '.join(CONTENT_TYPES)}"


def payload(session: Session) -> str:
    """MAX_CONTENT_LENGTH is what MaxPayloadInMB announces, and a body of that size passes every hop."""
    announced = execution(session, BATCH).get("MaxPayloadInMB")
    require(announced == PAYLOAD_MEGABYTES, f"MaxPayloadInMB is {announced}, not {PAYLOAD_MEGABYTES}")
    line = ",".join(f"{value:.{_DIGITS}f}" for value in session.rows[0]).encode()
    count = (LIMIT + 2**20) // (len(line) + 1)
    answer = ok(session, BATCH, invocation(b"\n".join([line] * count), "text/csv"))
    found = len(answer.body.splitlines())
    require(found == count, f"{found} lines came back for {count} rows of a {LIMIT // 2**20 + 1} MiB body")
    return f"{announced} MB announced, {count} rows in {LIMIT // 2**20 + 1} MiB scored"


def _scores(answer: Answer) -> list[Row]:
    """A line is a number, or a list of them for several classes."""
    try:
        values = [ast.literal_eval(line) for line in answer.text.splitlines()]
        return [tuple(map(float, value)) if isinstance(value, list) else (float(value),) for value in values]
    except (ValueError, SyntaxError, TypeError) as error:
        raise Violation(f"answered {answer}, which is not one number or list a line") from error
