"""Checks of the feature `shap` with XGBPATCH_SHAP_LAYOUT=append: each answer carries its explanation."""

from __future__ import annotations

from dataclasses import replace

from xgbpatch.contract import explained, multi_model
from xgbpatch.contract.exchange import Answer, Request, invocation
from xgbpatch.contract.explained import Explained
from xgbpatch.contract.finding import require
from xgbpatch.contract.payload import csv as csv_body
from xgbpatch.contract.payload import csv_scores, json_scores
from xgbpatch.contract.serve import accept_csv, accept_json, equal, ok
from xgbpatch.contract.server import PLAIN, SHAP, SHAP_BATCH, SHAP_MULTI_MODEL, Stack
from xgbpatch.contract.session import Session
from xgbpatch.contract.truth import SAMPLE, Truth


def off(session: Session) -> str:
    """Without its variable the feature adds nothing to CSV and JSON."""
    accept_json(session)
    body = csv_body(session.rows[:1])
    document = ok(session, PLAIN, invocation(body, "text/csv", "application/json")).json()
    keys = set(document["predictions"][0])
    require(keys == {"score"}, f'a prediction carries {", ".join(sorted(keys))}, and must carry "score" alone')
    return accept_csv(session)


def csv(session: Session) -> str:
    """XGBPATCH_SHAP_LAYOUT=append: prediction, base value and one value a feature in each CSV row."""
    return _lines(session, SHAP)


def batch(session: Session) -> str:
    """The same in batch transform: still one line a record, so that lines join with their input."""
    return _lines(session, SHAP_BATCH)


def json(session: Session) -> str:
    """XGBPATCH_SHAP_LAYOUT=append: `score`, `base_value` and `shap_values` in each JSON record."""
    answer = ok(session, SHAP, sample(session, "application/json"))
    return hold_records(answer, session.truth(SHAP, SAMPLE))


def from_multi_model(session: Session) -> str:
    """The same records from a multi-model server."""
    loaded = session.server(SHAP_MULTI_MODEL).ask(multi_model.LOAD)
    require(loaded.status == 200, f"POST /models answered {loaded}, not 200")
    asked = replace(sample(session, "application/json"), path=f"/models/{multi_model.NAME}/invoke")
    return hold_records(ok(session, SHAP_MULTI_MODEL, asked), session.truth(SHAP_MULTI_MODEL, SAMPLE))


def sample(session: Session, accept: str) -> Request:
    """The first rows as CSV."""
    return invocation(csv_body(session.rows[:SAMPLE]), "text/csv", accept)


def hold_lines(answer: Answer, truth: Truth) -> str:
    """Lines of prediction, base value and values, held to `truth`; returns the reason for a pass."""
    require(answer.body.endswith(b"\n"), f"answered {answer}, without a newline after the last row")
    rows = csv_scores(replace(answer, body=answer.body.translate(None, b"[] ")))  # batch prints classes as a list
    width = len(truth.served[0])
    equal([row[:width] for row in rows], truth.served)
    features = truth.description.features
    return explained.agree([explained.of_cells(row[width:], features) for row in rows], truth)


def hold_records(answer: Answer, truth: Truth, approximate: bool = False) -> str:
    """JSON records of `score`, `base_value` and `shap_values`, held to `truth`; returns the reason for a pass."""
    equal(json_scores(answer), truth.served)
    return explained.agree(records(answer), truth, approximate)


def records(answer: Answer) -> list[Explained]:
    """The explanations of JSON records."""
    document = answer.json()
    return list(explained.read(answer, lambda: [explained.of_record(record) for record in document["predictions"]]))


def _lines(session: Session, stack: Stack) -> str:
    return hold_lines(ok(session, stack, sample(session, "text/csv")), session.truth(stack, SAMPLE))
