"""Checks of the feature `daal4py`: another engine, the same bytes."""

from __future__ import annotations

from xgbpatch.contract.checks.against_base import difference
from xgbpatch.contract.checks.serve import equal, ok
from xgbpatch.contract.http import Request, invocation
from xgbpatch.contract.model import NotApplicable, require
from xgbpatch.contract.payloads import CONTENT_TYPES, csv_scores
from xgbpatch.contract.server import BOOSTER, DAAL4PY
from xgbpatch.contract.session import Session
from xgbpatch.spec import Architecture

HEADER = "x-xgbpatch-engine"  # of /ping, where an engine was asked for: `daal4py; why`, one a model, between bars


def engine(session: Session) -> str:
    """XGBPATCH_ENGINE=daal4py: /ping tells that oneDAL predicts, or why the booster does; for abalone oneDAL must."""
    engine = session.server(DAAL4PY).ask(Request(path="/ping")).headers.get(HEADER, "")
    require(bool(engine), f"/ping carries no header {HEADER}")
    fell_back = engine.startswith("booster")
    if fell_back and (session.options.model or session.image.architecture == Architecture.ARM64.value):
        raise NotApplicable(engine)
    require(engine.startswith("daal4py"), engine)
    return engine


def predictions(session: Session) -> str:
    """XGBPATCH_ENGINE=daal4py: scores exactly as the image's own xgboost, the same bytes for every content type."""
    rows = session.rows
    kinds = CONTENT_TYPES.values()
    answers = [ok(session, DAAL4PY, invocation(kind.encode(rows), kind.header, "text/csv")) for kind in kinds]
    for other in answers[1:]:
        differs = difference(answers[0], other)
        require(not differs, f"content types disagree: {differs}")
    return equal(csv_scores(answers[0]), session.truth(DAAL4PY, len(rows)).served)


def same_bytes(session: Session) -> str:
    """XGBPATCH_ENGINE=booster and =daal4py answer the same bytes, for every content type, in CSV and JSON."""
    engine = session.server(BOOSTER).ask(Request(path="/ping")).headers.get(HEADER, "")
    require(engine.startswith("booster"), f'with XGBPATCH_ENGINE=booster /ping says "{engine}"')
    requests = [
        invocation(kind.encode(rows), kind.header, accept)
        for kind in CONTENT_TYPES.values() for accept in ("text/csv", "application/json")
        for rows in (session.rows[:1], session.rows)
    ]  # fmt: skip
    for request in requests:
        differs = difference(ok(session, BOOSTER, request), ok(session, DAAL4PY, request))
        require(not differs, f"{request}: {differs}")
    return f"{len(requests)} answers, equal byte for byte"
