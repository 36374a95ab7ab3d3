"""Checks of the feature `shap`: the values stand in the response, and they add up to the margin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xgbpatch.contract import multi_model
from xgbpatch.contract.exchange import Answer, invocation
from xgbpatch.contract.feature import needs
from xgbpatch.contract.finding import Violation, require
from xgbpatch.contract.payload import Row, csv_scores
from xgbpatch.contract.payload import csv as csv_body
from xgbpatch.contract.serve import SAMPLE, accept_csv, accept_json, equal, ok
from xgbpatch.contract.server import PLAIN, SHAP, SHAP_BATCH, SHAP_MULTI_MODEL, Stack
from xgbpatch.contract.session import Session

TOLERANCE = 1e-4  # of max(1, |margin|)


def off(session: Session) -> str:
    """Without its variable the feature adds nothing to CSV and JSON."""
    needs(session, "shap")
    accept_json(session)
    body = csv_body(session.rows[:1])
    document = ok(session, PLAIN, invocation(body, "text/csv", "application/json")).json()
    keys = set(document["predictions"][0])
    require(keys == {"score"}, f'a prediction carries {", ".join(sorted(keys))}, and must carry "score" alone')
    return accept_csv(session)


def csv(session: Session) -> str:
    """XGBPATCH_SHAP_LAYOUT=append: prediction, base value and one value a feature in each CSV row."""
    return _appended_lines(session, SHAP)


def batch(session: Session) -> str:
    """The same in batch transform: still one line a record, so that lines join with their input."""
    return _appended_lines(session, SHAP_BATCH)


def json(session: Session) -> str:
    """XGBPATCH_SHAP_LAYOUT=append: `score`, `base_value` and `shap_values` in each JSON record."""
    needs(session, "shap")
    body = csv_body(session.rows[:SAMPLE])
    return _appended_records(session, SHAP, ok(session, SHAP, invocation(body, "text/csv", "application/json")))


def from_multi_model(session: Session) -> str:
    """The same records from a multi-model server."""
    needs(session, "shap")
    loaded = session.server(SHAP_MULTI_MODEL).ask(multi_model.LOAD)
    require(loaded.status == 200, f"POST /models answered {loaded}, not 200")
    asked = invocation(csv_body(session.rows[:SAMPLE]), "text/csv", "application/json")
    invoked = ok(session, SHAP_MULTI_MODEL, replace(asked, path=f"/models/{multi_model.NAME}/invoke"))
    return _appended_records(session, SHAP_MULTI_MODEL, invoked)


def _appended_lines(session: Session, stack: Stack) -> str:
    needs(session, "shap")
    rows = session.rows[:SAMPLE]
    truth = session.truth(stack, len(rows))
    answer = ok(session, stack, invocation(csv_body(rows), "text/csv", "text/csv"))
    require(answer.body.endswith(b"\n"), f"answered {answer}, without a newline after the last row")
    found = csv_scores(replace(answer, body=answer.body.translate(None, b"[] ")))  # batch prints classes as a list
    width = len(truth.served[0])
    equal([row[:width] for row in found], truth.served)
    sums = [_sums(row[width:], truth.description.features) for row in found]
    equal(sums, truth.margins, TOLERANCE)
    return f"{len(rows)} rows of {truth.description.features} values, summing to the margin"


def _appended_records(session: Session, stack: Stack, answer: Answer) -> str:
    truth = session.truth(stack, SAMPLE)
    try:
        records = answer.json()["predictions"]
        scores = [_vector(record["score"]) for record in records]
        sums = [_json_sums(record["base_value"], record["shap_values"]) for record in records]
    except (KeyError, TypeError, ValueError) as error:
        raise Violation(f"answered {answer}: a record lacks score, base_value or shap_values") from error
    equal(scores, truth.served)
    equal(sums, truth.margins, TOLERANCE)
    return f"{len(records)} records, base_value and shap_values summing to the margin"


def _sums(cells: Row, features: int) -> Row:
    """Base value and values of each class, one class after the other, as one sum a class."""
    step = features + 1
    require(len(cells) % step == 0 and len(cells) > 0, f"{len(cells)} cells follow the prediction, not {step} a class")
    return tuple(sum(cells[at : at + step]) for at in range(0, len(cells), step))


def _json_sums(base: object, values: Sequence[object]) -> Row:
    classes = values if values and isinstance(values[0], list) else [values]
    return tuple(start + sum(_vector(row)) for start, row in zip(_vector(base), classes, strict=True))


def _vector(value: object) -> Row:
    return tuple(map(float, value)) if isinstance(value, list) else (float(value),)  # type: ignore[arg-type]
