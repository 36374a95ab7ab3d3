"""SHAP values in every layout: appended, by key, asked for by request, in probability space."""

from __future__ import annotations

import csv as csv_format
import io
import json as json_format
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from xgbpatch.contract import oracle, payloads, server
from xgbpatch.contract.checks import multi_model
from xgbpatch.contract.checks.serve import accept_csv, accept_json, equal, ok, sample, typed
from xgbpatch.contract.http import Answer, Request, invocation
from xgbpatch.contract.jobs import NAMES
from xgbpatch.contract.model import NotApplicable, Violation, require
from xgbpatch.contract.oracle import SAMPLE, ExplainedRecord, Truth
from xgbpatch.contract.payloads import Row, csv_scores, json_scores, vector
from xgbpatch.contract.server import SHAP_LIMIT, SHAP_SELECTION, Stack
from xgbpatch.contract.session import Session, background

ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
JSON, LINES, CSV, RECORDIO = (
    "application/json", "application/jsonlines", "text/csv", "application/x-recordio-protobuf",
)  # fmt: skip
_TOP = 5
_OVER = 1.1  # times the limit
_FITS = re.compile(r"at most (\d+) records")


def off(session: Session) -> str:
    """Without its variable the feature adds nothing to CSV and JSON."""
    accept_json(session)
    body = payloads.csv(session.rows[:1])
    document = ok(session, server.PLAIN, invocation(body, CSV, JSON)).json()
    keys = set(document["predictions"][0])
    require(keys == {"score"}, f'a prediction carries {", ".join(sorted(keys))}, and must carry "score" alone')
    return accept_csv(session)


def appended_csv(session: Session) -> str:
    """XGBPATCH_SHAP_LAYOUT=append: prediction, base value and one value a feature in each CSV row."""
    return hold_lines(ok(session, server.SHAP, sample(session, CSV)), session.truth(server.SHAP, SAMPLE))


def appended_batch(session: Session) -> str:
    """The same in batch transform: still one line a record, so that lines join with their input."""
    return hold_lines(ok(session, server.SHAP_BATCH, sample(session, CSV)), session.truth(server.SHAP_BATCH, SAMPLE))


def appended_json(session: Session) -> str:
    """XGBPATCH_SHAP_LAYOUT=append: `score`, `base_value` and `shap_values` in each JSON record."""
    answer = ok(session, server.SHAP, sample(session, JSON))
    return hold_records(answer, session.truth(server.SHAP, SAMPLE))


def appended_from_multi_model(session: Session) -> str:
    """The same records from a multi-model server."""
    multi_model.load_model(session, server.SHAP_MULTI_MODEL)
    request = replace(sample(session, JSON), path=multi_model.INVOKE)
    return hold_records(ok(session, server.SHAP_MULTI_MODEL, request), session.truth(server.SHAP_MULTI_MODEL, SAMPLE))


def hold_lines(answer: Answer, truth: Truth) -> str:
    """Lines of prediction, base value and values, held to `truth`; returns the reason for a pass."""
    require(answer.body.endswith(b"\n"), f"answered {answer}, without a newline after the last row")
    rows = csv_scores(replace(answer, body=answer.body.translate(None, b"[] ")))  # batch prints classes as a list
    width = len(truth.served[0])
    equal([row[:width] for row in rows], truth.served)
    features = truth.description.features
    return oracle.agree([oracle.of_cells(row[width:], features) for row in rows], truth)


def hold_records(answer: Answer, truth: Truth, approximate: bool = False) -> str:
    """JSON records of `score`, `base_value` and `shap_values`, held to `truth`; returns the reason for a pass."""
    equal(json_scores(answer), truth.served)
    return oracle.agree(records(answer), truth, approximate)


def records(answer: Answer) -> list[ExplainedRecord]:
    """The explanations of JSON records."""
    document = answer.json()
    return list(oracle.read_explained(answer, lambda: [oracle.of_record(record) for record in document["predictions"]]))


# Checks of the feature `shap` as a request asks for it, on servers that explain nothing by themselves.


def attributes(session: Session) -> str:
    """`X-Amzn-SageMaker-Custom-Attributes: shap=on` explains one request, and the next one is plain again."""
    plain = {accept: _ask(session, server.PLAIN, "", accept) for accept in (CSV, JSON)}
    truth = session.truth(server.PLAIN, SAMPLE)
    hold_lines(_ask(session, server.PLAIN, "shap=on", CSV), truth)
    agreement = hold_records(_ask(session, server.PLAIN, "shap=on", JSON), truth)
    for accept, before in plain.items():
        after = _ask(session, server.PLAIN, "", accept)
        require(after.body == before.body, f"after an explained request a plain one answers {after}, not {before}")
    return agreement


def accept(session: Session) -> str:
    """`Accept: application/json;shap=on` does the same."""
    answer = ok(session, server.PLAIN, sample(session, f"{JSON};shap=on"))
    hold_lines(ok(session, server.PLAIN, sample(session, f"{CSV};shap=on")), session.truth(server.PLAIN, SAMPLE))
    return hold_records(answer, session.truth(server.PLAIN, SAMPLE))


def top_k(session: Session) -> str:
    """`top_k=5` names the strongest features with their values, strongest first."""
    answer = _ask(session, server.PLAIN, f"shap=on;top_k={_TOP}", JSON)
    strongest: list[list[float]] = []
    for record in answer.json()["predictions"]:
        entry = record.get("shap_top_k")
        if not isinstance(entry, list):
            raise Violation(f"answered {answer}: a record carries no shap_top_k")
        pairs = [pair for part in entry for pair in (part if isinstance(part, list) else [part])]
        strongest.append([float(pair["value"]) for pair in pairs])
        require(all(str(pair["feature"]) for pair in pairs), "a value has no feature's name")
    return hold_strongest(strongest, session.truth(server.PLAIN, SAMPLE))


def interactions(session: Session) -> str:
    """`interactions=on`: a symmetric matrix a record, whose rows sum to its SHAP values."""
    features = session.truth(server.PLAIN, 0).description.features
    if features > 50:
        raise NotApplicable(f"the model has {features} features, and a record {(features + 1) ** 2} interactions")
    answer = _ask(session, server.PLAIN, "shap=on;interactions=on", JSON)
    explained = records(answer)
    for record, values in zip(answer.json()["predictions"], explained, strict=True):
        hold_interactions(record.get("shap_interactions"), values.row)
    return oracle.agree(explained, session.truth(server.PLAIN, SAMPLE))


def approximate(session: Session) -> str:
    """`approximate=on`: xgboost's approximate contributions, and the answer says so."""
    answer = _ask(session, server.PLAIN, "shap=on;approximate=on", JSON)
    stated = answer.headers.get(ATTRIBUTES.lower(), "")
    require("approximate=on" in stated, f'the header {ATTRIBUTES} of the answer is "{stated}"')
    return hold_records(answer, session.truth(server.PLAIN, SAMPLE), approximate=True)


def column_names(session: Session) -> str:
    """`header=on`: CSV begins with a line that names each column once."""
    answer = _ask(session, server.PLAIN, "shap=on;header=on", CSV)
    first, _, rest = answer.body.partition(b"\n")
    names = first.decode("utf-8", "replace").split(",")
    width = len(csv_scores(replace(answer, body=rest))[0])
    require(len(set(names)) == width, f"{len(set(names))} different names stand above {width} columns: {first!r}")
    require("base_value" in first.decode("utf-8", "replace"), f"no column is named base_value: {first!r}")
    hold_lines(replace(answer, body=rest), session.truth(server.PLAIN, SAMPLE))
    return f"{width} columns: {', '.join(names[:4])}, …"


def bad_option(session: Session) -> str:
    """An option with a value that is not allowed is a 400 that names both."""
    request = sample(session, CSV)
    answer = session.server(server.PLAIN).ask(with_options(request, f"shap=on;top_k={-_TOP}"))
    require(answer.status == 400, f"top_k={-_TOP} answered {answer}, not 400")
    require("top_k" in answer.text and str(-_TOP) in answer.text, f"the refusal does not name top_k=-5: {answer}")
    return answer.text.strip()


def ensemble_mean(session: Session) -> str:
    """Of an ensemble that serves the mean, the mean of its members' SHAP values."""
    return hold_records(_ask(session, server.ENSEMBLE, "shap=on", JSON), session.truth(server.ENSEMBLE, SAMPLE))


def ensemble_vote(session: Session) -> str:
    """An ensemble that votes has no SHAP values: a 400 with the reason, and a plain request is answered."""
    _ask(session, server.VOTES, "", CSV)
    answer = session.server(server.VOTES).ask(with_options(sample(session, CSV), "shap=on"))
    require(answer.status == 400, f"answered {answer}, not 400")
    require("vote" in answer.text.lower() or "mode" in answer.text.lower(), f"no reason in {answer}")
    return answer.text.strip()


def request_from_multi_model(session: Session) -> str:
    """A multi-model server explains one request in the same way."""
    multi_model.ensure_loaded(session)
    request = replace(with_options(sample(session, JSON), "shap=on"), path=multi_model.INVOKE)
    agreement = hold_records(ok(session, server.MULTI_MODEL, request), session.truth(server.MULTI_MODEL, SAMPLE))
    plain = ok(session, server.MULTI_MODEL, replace(sample(session, JSON), path=multi_model.INVOKE)).json()
    require(isinstance(plain, list), f"after an explained request a plain one answers {plain!r:.80}")
    return agreement


def hold_strongest(rows: Sequence[Sequence[float]], truth: Truth) -> str:
    """The strongest values of each record and class (flat), held to xgboost's own contributions."""
    if not truth.contributions:
        raise NotApplicable("xgboost has no contributions for this model")
    step = truth.description.features + 1
    for number, (record, row) in enumerate(zip(rows, truth.contributions, strict=True), 1):
        strongest: list[float] = []
        for at in range(0, len(row), step):
            strongest += sorted(row[at : at + step - 1], key=abs, reverse=True)[:_TOP]
        limit = oracle.TOLERANCE * max(1.0, *map(abs, truth.margins[number - 1]))
        # Two values that are all but equal and of different sign may stand in either order.
        right = len(record) == len(strongest) and all(
            abs(abs(one) - abs(other)) <= limit for one, other in zip(record, strongest, strict=True)
        )
        require(right, f"row {number}: the strongest values are {record}, and the booster says {strongest}")
    return f"{len(rows)} rows, the {_TOP} strongest of {step - 1} features"


def hold_interactions(matrix: object, values: Row) -> None:
    """Interactions of one record (and class), base value last: symmetric, and rows that sum to the SHAP values."""
    if not isinstance(matrix, list) or not matrix:
        raise Violation("a record carries no shap_interactions")
    classes = matrix if isinstance(matrix[0][0], list) else [matrix]
    limit = oracle.TOLERANCE * max(1.0, *map(abs, values))
    sums: list[float] = []
    for part in classes:
        rows = [vector(row) for row in part]
        turned = zip(*rows, strict=True)
        skew = max(abs(one - other) for row, column in zip(rows, turned, strict=True)
                   for one, other in zip(row, column, strict=True))  # fmt: skip
        require(skew <= limit, f"two interactions of the same features differ by {skew:g}")
        sums += map(sum, rows)
    require(len(sums) == len(values), f"{len(sums)} rows of interactions stand for {len(values)} values")
    for number, (total, value) in enumerate(zip(sums, values, strict=True), 1):
        require(abs(total - value) <= limit, f"interactions of feature {number} sum to {total:g}, not {value:g}")


def _ask(session: Session, stack: Stack, options: str, accept: str) -> Answer:
    return ok(session, stack, with_options(sample(session, accept), options))


def with_options(request: Request, options: str) -> Request:
    """`request` with `options` in the header that SageMaker hands through, or as it is."""
    return replace(request, headers=(*request.headers, (ATTRIBUTES, options))) if options else request


# Checks of the feature `shap` as keys of selectable inference, SAGEMAKER_INFERENCE_OUTPUT=…,base_value,…


def selected_json(session: Session) -> str:
    """Selected keys in JSON: the explanation, and the base's own key before it."""
    answer = _ask_selected(session, JSON)
    return _hold(answer.json().get("predictions", []), session.truth(server.SHAP_SELECTED, SAMPLE))


def selected_json_lines(session: Session) -> str:
    """Selected keys in JSON Lines: the records of JSON, one a line."""
    answer = _ask_selected(session, LINES)
    try:
        records = [json_format.loads(line) for line in answer.body.splitlines()]
    except ValueError as error:
        raise Violation(f"answered {answer}: a line is no JSON") from error
    return _hold(records, session.truth(server.SHAP_SELECTED, SAMPLE))


def selected_csv(session: Session) -> str:
    """Selected keys in CSV: a cell a key, lists in quotes, the strongest features as name=value."""
    answer = _ask_selected(session, CSV)
    rows = list(csv_format.reader(io.StringIO(answer.text)))
    wrong = {len(row) for row in rows} - {len(SHAP_SELECTION)}
    require(not wrong, f"answered {answer}, with rows of {wrong} cells for {len(SHAP_SELECTION)} keys")
    return _hold([_record(row) for row in rows], session.truth(server.SHAP_SELECTED, SAMPLE))


def selected_recordio(session: Session) -> str:
    """Selected keys in recordio-protobuf: a float32 tensor a key."""
    answer = _ask_selected(session, RECORDIO)
    truth = session.truth(server.SHAP_SELECTED, SAMPLE)
    try:
        records = payloads.recordio_labels(answer.body)
    except ValueError as error:
        raise Violation(f"no recordio-protobuf: {error}") from error
    features = truth.description.features
    explained = [ExplainedRecord(_tensor(record, "base_value", 1), (_tensor(record, "shap_values", features),))
             for record in records]  # fmt: skip
    equal([_tensor(record, "predicted_score", 1) for record in records], truth.served)
    for record in records:
        _tensor(record, "shap_interactions", (features + 1) ** 2)
        _tensor(record, "shap_top_k", 5)
    return oracle.agree(explained, truth)


def selected_payload(session: Session) -> str:
    """A response above XGBPATCH_SHAP_MEGABYTES is a 413 with a number of records, and so many do fit."""
    one = len(_ask_selected(session, JSON).body) / SAMPLE
    count = math.ceil(_OVER * SHAP_LIMIT / one)
    refused = session.server(server.SHAP_SELECTED).ask(_first_selected(session, count))
    require(refused.status == 413, f"{count} explained records answered {refused}, not 413")
    fits = _FITS.search(refused.text)
    if fits is None:
        raise Violation(f"the refusal does not say how many records would fit: {refused}")
    size = len(ok(session, server.SHAP_SELECTED, _first_selected(session, int(fits[1]))).body)
    require(size <= SHAP_LIMIT, f"{fits[1]} records were said to fit in {SHAP_LIMIT} bytes, and made {size}")
    require(
        size > 0.8 * SHAP_LIMIT, f"{fits[1]} records are said to be the most, and make {size} bytes of {SHAP_LIMIT}"
    )
    return f"{count} records refused, {fits[1]} answered in {size} bytes"


def _first_selected(session: Session, count: int) -> Request:
    return invocation(payloads.csv(session.rows[:count]), CSV, JSON)


def _ask_selected(session: Session, accept: str) -> Answer:
    answer = ok(session, server.SHAP_SELECTED, sample(session, accept))
    typed(answer, accept)
    return answer


def _hold(records: Sequence[Mapping[str, object]], truth: Truth) -> str:
    for record in records:
        require(set(record) == set(SHAP_SELECTION), f"a record carries {', '.join(record)}")
    try:
        equal([vector(record["predicted_score"]) for record in records], truth.served)
        explained = [oracle.of_record(record) for record in records]
        strongest = [[(str(pair["feature"]), float(pair["value"])) for pair in record["shap_top_k"]]  # type: ignore
                     for record in records]  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise Violation(f"a record is misshapen: {records[0]!r:.200}") from error
    for record, values in zip(records, explained, strict=True):
        hold_interactions(record["shap_interactions"], values.row)
    unknown = {name for record in strongest for name, _ in record} - set(NAMES)
    require(not unknown, f"features are called {', '.join(sorted(unknown))}, and feature_names.json does not")
    hold_strongest([[value for _, value in record] for record in strongest], truth)
    return oracle.agree(explained, truth)


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
    numbers = record.get(key, ())
    require(len(numbers) == length, f'"{key}" holds {len(numbers)} numbers, not {length}')
    return numbers


# Checks of the feature `shap-probability`: SHAP values of the probability, against rows beside the model.


def probability_values(session: Session) -> str:
    """XGBPATCH_SHAP_SPACE=probability: base value and values sum to the probability that is served."""
    answer = ok(session, server.SHAP_PROBABILITY, sample(session, JSON))
    truth = session.truth(server.SHAP_PROBABILITY, SAMPLE)
    equal(json_scores(answer), truth.served)
    equal([record.sums for record in records(answer)], truth.served, oracle.TOLERANCE)
    stated = answer.headers.get(ATTRIBUTES.lower(), "")
    require("space=probability" in stated, f'the header {ATTRIBUTES} of the answer is "{stated}"')
    return f"{SAMPLE} rows, summing to the probability"


def probability_base_value(session: Session) -> str:
    """The base value is the mean probability of the background rows."""
    answer = ok(session, server.SHAP_PROBABILITY, sample(session, JSON))
    count = len(payloads.abalone_rows())
    probabilities = [row[0] for row in session.truth(server.SHAP_PROBABILITY, count).served[-len(background()) :]]
    mean = sum(probabilities) / len(probabilities)
    equal([record.bases for record in records(answer)], [(mean,)] * SAMPLE, oracle.TOLERANCE)
    return f"{mean:.4f}, the mean of {len(probabilities)} rows"


def probability_refused(session: Session) -> str:
    """A regression has no probability: a request for it is a 400 with the reason."""
    request = with_options(sample(session, CSV), "shap=on;space=probability")
    answer = session.server(server.SHAP_SELECTED).ask(request)
    require(answer.status == 400, f"answered {answer}, not 400")
    require("probability" in answer.text, f"the refusal does not say what it is about: {answer}")
    return answer.text.strip()
