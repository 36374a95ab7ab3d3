"""Checks of the feature `shap` as keys of selectable inference, SAGEMAKER_INFERENCE_OUTPUT=…,base_value,…"""

from __future__ import annotations

import csv as csv_format
import io
import json as json_format
import math
import re
from collections.abc import Mapping, Sequence

from xgbpatch.contract import explained, recordio, shap, shap_request
from xgbpatch.contract.exchange import Answer, Request, invocation
from xgbpatch.contract.explained import Explained
from xgbpatch.contract.finding import Violation, require
from xgbpatch.contract.jobs import NAMES
from xgbpatch.contract.payload import csv as csv_body
from xgbpatch.contract.serve import equal, ok, typed
from xgbpatch.contract.server import SHAP_LIMIT, SHAP_SELECTED, SHAP_SELECTION
from xgbpatch.contract.session import Session
from xgbpatch.contract.truth import SAMPLE, Truth

_JSON, _LINES = "application/json", "application/jsonlines"
_OVER = 1.1  # times the limit
_FITS = re.compile(r"at most (\d+) records")
_RECORDIO = "application/x-recordio-protobuf"


def json(session: Session) -> str:
    """Selected keys in JSON: the explanation, and the base's own key before it."""
    answer = _ask(session, _JSON)
    return _hold(answer.json().get("predictions", []), session.truth(SHAP_SELECTED, SAMPLE))


def json_lines(session: Session) -> str:
    """Selected keys in JSON Lines: the records of JSON, one a line."""
    answer = _ask(session, _LINES)
    try:
        records = [json_format.loads(line) for line in answer.body.splitlines()]
    except ValueError as error:
        raise Violation(f"answered {answer}: a line is no JSON") from error
    return _hold(records, session.truth(SHAP_SELECTED, SAMPLE))


def csv(session: Session) -> str:
    """Selected keys in CSV: a cell a key, lists in quotes, the strongest features as name=value."""
    answer = _ask(session, "text/csv")
    rows = list(csv_format.reader(io.StringIO(answer.text)))
    wrong = {len(row) for row in rows} - {len(SHAP_SELECTION)}
    require(not wrong, f"answered {answer}, with rows of {wrong} cells for {len(SHAP_SELECTION)} keys")
    return _hold([_record(row) for row in rows], session.truth(SHAP_SELECTED, SAMPLE))


def recordio_protobuf(session: Session) -> str:
    """Selected keys in recordio-protobuf: a float32 tensor a key."""
    answer = _ask(session, _RECORDIO)
    truth = session.truth(SHAP_SELECTED, SAMPLE)
    try:
        records = recordio.labels(answer.body)
    except ValueError as error:
        raise Violation(f"no recordio-protobuf: {error}") from error
    features = truth.description.features
    found = [Explained(_tensor(record, "base_value", 1), (_tensor(record, "shap_values", features),))
             for record in records]  # fmt: skip
    equal([_tensor(record, "predicted_score", 1) for record in records], truth.served)
    for record in records:
        _tensor(record, "shap_interactions", (features + 1) ** 2)
        _tensor(record, "shap_top_k", 5)
    return explained.agree(found, truth)


def payload(session: Session) -> str:
    """A response above XGBPATCH_SHAP_MEGABYTES is a 413 with a number of records, and so many do fit."""
    one = len(_ask(session, _JSON).body) / SAMPLE
    count = math.ceil(_OVER * SHAP_LIMIT / one)
    refused = session.server(SHAP_SELECTED).ask(_first(session, count))
    require(refused.status == 413, f"{count} explained records answered {refused}, not 413")
    fits = _FITS.search(refused.text)
    if fits is None:
        raise Violation(f"the refusal does not say how many records would fit: {refused}")
    size = len(ok(session, SHAP_SELECTED, _first(session, int(fits[1]))).body)
    require(size <= SHAP_LIMIT, f"{fits[1]} records were said to fit in {SHAP_LIMIT} bytes, and made {size}")
    require(
        size > 0.8 * SHAP_LIMIT, f"{fits[1]} records are said to be the most, and make {size} bytes of {SHAP_LIMIT}"
    )
    return f"{count} records refused, {fits[1]} answered in {size} bytes"


def _first(session: Session, count: int) -> Request:
    return invocation(csv_body(session.rows[:count]), "text/csv", _JSON)


def _ask(session: Session, accept: str) -> Answer:
    answer = ok(session, SHAP_SELECTED, shap.sample(session, accept))
    typed(answer, accept)
    return answer


def _hold(records: Sequence[Mapping[str, object]], truth: Truth) -> str:
    for record in records:
        require(set(record) == set(SHAP_SELECTION), f"a record carries {', '.join(record)}")
    try:
        equal([explained.vector(record["predicted_score"]) for record in records], truth.served)
        found = [explained.of_record(record) for record in records]
        strongest = [[(str(pair["feature"]), float(pair["value"])) for pair in record["shap_top_k"]]  # type: ignore
                     for record in records]  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise Violation(f"a record is misshapen: {records[0]!r:.200}") from error
    for record, values in zip(records, found, strict=True):
        shap_request.hold_interactions(record["shap_interactions"], values.row)
    unknown = {name for record in strongest for name, _ in record} - set(NAMES)
    require(not unknown, f"features are called {', '.join(sorted(unknown))}, and feature_names.json does not")
    shap_request.hold_strongest([[value for _, value in record] for record in strongest], truth)
    return explained.agree(found, truth)


def _record(cells: Sequence[str]) -> Mapping[str, object]:
    """A CSV row as its JSON record."""
    try:
        *plain, top = cells
        numbers: dict[str, object] = {
            key: json_format.loads(cell) for key, cell in zip(SHAP_SELECTION[:-1], plain, strict=True)
        }
        pairs = [pair.strip().rpartition("=") for pair in top.strip("[]").split(",")]
        return numbers | {SHAP_SELECTION[-1]: [{"feature": name, "value": float(value)} for name, _, value in pairs]}
    except ValueError as error:
        raise Violation(f"a row of CSV is misshapen: {cells!r:.200}") from error


def _tensor(record: Mapping[str, tuple[float, ...]], key: str, length: int) -> tuple[float, ...]:
    found = record.get(key, ())
    require(len(found) == length, f'"{key}" holds {len(found)} numbers, not {length}')
    return found
