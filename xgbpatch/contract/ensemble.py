"""The check of several model files in one directory."""

from __future__ import annotations

from xgbpatch.contract import abalone
from xgbpatch.contract.exchange import invocation
from xgbpatch.contract.finding import require
from xgbpatch.contract.payload import csv, csv_scores
from xgbpatch.contract.serve import equal, ok
from xgbpatch.contract.server import ENSEMBLE
from xgbpatch.contract.session import Session
from xgbpatch.contract.truth import SAMPLE

_FLOAT32 = 1e-6  # the server takes the mean in single precision


def mean(session: Session) -> str:
    """Two regression models in the model directory are served as the mean of both (facts 2.2)."""
    rows = abalone.rows()[:SAMPLE]
    truth = session.truth(ENSEMBLE, len(rows))
    require(len(truth.members) == 2, f"{len(truth.members)} models lie in the model directory, not 2")
    answer = ok(session, ENSEMBLE, invocation(csv(rows), "text/csv", "text/csv"))
    equal(csv_scores(answer), truth.mean, _FLOAT32)
    return f"{len(rows)} rows, equal to the mean of 2 models"
