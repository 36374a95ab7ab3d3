"""Checks of the feature `shap` as a request asks for it, on servers that explain nothing by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xgbpatch.contract import explained, multi_model, shap
from xgbpatch.contract.exchange import Answer, Request
from xgbpatch.contract.finding import NotApplicable, Violation, require
from xgbpatch.contract.payload import Row, csv_scores
from xgbpatch.contract.serve import ok
from xgbpatch.contract.server import ENSEMBLE, MULTI_MODEL, PLAIN, VOTES, Stack
from xgbpatch.contract.session import Session
from xgbpatch.contract.truth import SAMPLE, Truth

ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
JSON, CSV = "application/json", "text/csv"
_TOP = 5


def attributes(session: Session) -> str:
    """`X-Amzn-SageMaker-Custom-Attributes: shap=on` explains one request, and the next one is plain again."""
    plain = {accept: _ask(session, PLAIN, "", accept) for accept in (CSV, JSON)}
    truth = session.truth(PLAIN, SAMPLE)
    shap.hold_lines(_ask(session, PLAIN, "shap=on", CSV), truth)
    held = shap.hold_records(_ask(session, PLAIN, "shap=on", JSON), truth)
    for accept, before in plain.items():
        after = _ask(session, PLAIN, "", accept)
        require(after.body == before.body, f"after an explained request a plain one answers {after}, not {before}")
    return held


def accept(session: Session) -> str:
    """`Accept: application/json;shap=on` does the same."""
    answer = ok(session, PLAIN, shap.sample(session, f"{JSON};shap=on"))
    shap.hold_lines(ok(session, PLAIN, shap.sample(session, f"{CSV};shap=on")), session.truth(PLAIN, SAMPLE))
    return shap.hold_records(answer, session.truth(PLAIN, SAMPLE))


def top_k(session: Session) -> str:
    """`top_k=5` names the strongest features with their values, strongest first."""
    answer = _ask(session, PLAIN, f"shap=on;top_k={_TOP}", JSON)
    found = _strongest([_entry(answer, record) for record in answer.json()["predictions"]])
    return hold_strongest(found, session.truth(PLAIN, SAMPLE))


def interactions(session: Session) -> str:
    """`interactions=on`: a symmetric matrix a record, whose rows sum to its SHAP values."""
    features = session.truth(PLAIN, 0).description.features
    if features > 50:
        raise NotApplicable(f"the model has {features} features, and a record {(features + 1) ** 2} interactions")
    answer = _ask(session, PLAIN, "shap=on;interactions=on", JSON)
    found = shap.records(answer)
    for record, values in zip(answer.json()["predictions"], found, strict=True):
        hold_interactions(record.get("shap_interactions"), values.row)
    return explained.agree(found, session.truth(PLAIN, SAMPLE))


def approximate(session: Session) -> str:
    """`approximate=on`: xgboost's approximate contributions, and the answer says so."""
    answer = _ask(session, PLAIN, "shap=on;approximate=on", JSON)
    stated = answer.headers.get(ATTRIBUTES.lower(), "")
    require("approximate=on" in stated, f'the header {ATTRIBUTES} of the answer is "{stated}"')
    return shap.hold_records(answer, session.truth(PLAIN, SAMPLE), approximate=True)


def column_names(session: Session) -> str:
    """`header=on`: CSV begins with a line that names each column once."""
    answer = _ask(session, PLAIN, "shap=on;header=on", CSV)
    first, _, rest = answer.body.partition(b"\n")
    names = first.decode("utf-8", "replace").split(",")
    width = len(csv_scores(replace(answer, body=rest))[0])
    require(len(set(names)) == width, f"{len(set(names))} different names stand above {width} columns: {first!r}")
    require("base_value" in first.decode("utf-8", "replace"), f"no column is named base_value: {first!r}")
    shap.hold_lines(replace(answer, body=rest), session.truth(PLAIN, SAMPLE))
    return f"{width} columns: {', '.join(names[:4])}, …"


def bad_option(session: Session) -> str:
    """An option with a value that is not allowed is a 400 that names both."""
    asked = shap.sample(session, CSV)
    answer = session.server(PLAIN).ask(with_options(asked, f"shap=on;top_k={-_TOP}"))
    require(answer.status == 400, f"top_k={-_TOP} answered {answer}, not 400")
    require("top_k" in answer.text and str(-_TOP) in answer.text, f"the refusal does not name top_k=-5: {answer}")
    return answer.text.strip()


def mean(session: Session) -> str:
    """Of an ensemble that serves the mean, the mean of its members' SHAP values."""
    return shap.hold_records(_ask(session, ENSEMBLE, "shap=on", JSON), session.truth(ENSEMBLE, SAMPLE))


def vote(session: Session) -> str:
    """An ensemble that votes has no SHAP values: a 400 with the reason, and a plain request is answered."""
    _ask(session, VOTES, "", CSV)
    answer = session.server(VOTES).ask(with_options(shap.sample(session, CSV), "shap=on"))
    require(answer.status == 400, f"answered {answer}, not 400")
    require("vote" in answer.text.lower() or "mode" in answer.text.lower(), f"no reason in {answer}")
    return answer.text.strip()


def from_multi_model(session: Session) -> str:
    """A multi-model server explains one request in the same way."""
    multi_model.ensure_loaded(session)
    path = f"/models/{multi_model.NAME}/invoke"
    asked = replace(with_options(shap.sample(session, JSON), "shap=on"), path=path)
    held = shap.hold_records(ok(session, MULTI_MODEL, asked), session.truth(MULTI_MODEL, SAMPLE))
    plain = ok(session, MULTI_MODEL, replace(shap.sample(session, JSON), path=path)).json()
    require(isinstance(plain, list), f"after an explained request a plain one answers {plain!r:.80}")
    return held


def hold_strongest(found: Sequence[Sequence[float]], truth: Truth) -> str:
    """The strongest values of each record and class (flat), held to xgboost's own contributions."""
    if not truth.contributions:
        raise NotApplicable("xgboost has no contributions for this model")
    step = truth.description.features + 1
    for number, (record, row) in enumerate(zip(found, truth.contributions, strict=True), 1):
        strongest: list[float] = []
        for at in range(0, len(row), step):
            strongest += sorted(row[at : at + step - 1], key=abs, reverse=True)[:_TOP]
        limit = explained.TOLERANCE * max(1.0, *map(abs, truth.margins[number - 1]))
        # Two values that are all but equal and of different sign may stand in either order.
        right = len(record) == len(strongest) and all(
            abs(abs(one) - abs(other)) <= limit for one, other in zip(record, strongest, strict=True)
        )
        require(right, f"row {number}: the strongest values are {record}, and the booster says {strongest}")
    return f"{len(found)} rows, the {_TOP} strongest of {step - 1} features"


def hold_interactions(matrix: object, values: Row) -> None:
    """Interactions of one record (and class), base value last: symmetric, and rows that sum to the SHAP values."""
    if not isinstance(matrix, list) or not matrix:
        raise Violation("a record carries no shap_interactions")
    classes = matrix if isinstance(matrix[0][0], list) else [matrix]
    limit = explained.TOLERANCE * max(1.0, *map(abs, values))
    sums: list[float] = []
    for part in classes:
        rows = [explained.vector(row) for row in part]
        turned = zip(*rows, strict=True)
        skew = max(abs(one - other) for row, column in zip(rows, turned, strict=True)
                   for one, other in zip(row, column, strict=True))  # fmt: skip
        require(skew <= limit, f"two interactions of the same features differ by {skew:g}")
        sums += map(sum, rows)
    require(len(sums) == len(values), f"{len(sums)} rows of interactions stand for {len(values)} values")
    for number, (found, value) in enumerate(zip(sums, values, strict=True), 1):
        require(abs(found - value) <= limit, f"interactions of feature {number} sum to {found:g}, not {value:g}")


def _strongest(records: Sequence[Sequence[object]]) -> list[list[float]]:
    flat: list[list[float]] = []
    for record in records:
        pairs = [pair for part in record for pair in (part if isinstance(part, list) else [part])]
        flat.append([float(pair["value"]) for pair in pairs])  # type: ignore[index]
        require(all(str(pair["feature"]) for pair in pairs), "a value has no feature's name")  # type: ignore[index]
    return flat


def _entry(answer: Answer, record: dict[str, object]) -> list[object]:
    found = record.get("shap_top_k")
    if not isinstance(found, list):
        raise Violation(f"answered {answer}: a record carries no shap_top_k")
    return found


def _ask(session: Session, stack: Stack, options: str, accept: str) -> Answer:
    return ok(session, stack, with_options(shap.sample(session, accept), options))


def with_options(request: Request, options: str) -> Request:
    """`request` with `options` in the header that SageMaker hands through, or as it is."""
    return replace(request, headers=(*request.headers, (ATTRIBUTES, options))) if options else request
