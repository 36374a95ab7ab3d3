"""Checks of the feature `shap-probability`: SHAP values of the probability, against rows beside the model."""

from __future__ import annotations

from xgbpatch.contract import abalone, explained, shap, shap_request
from xgbpatch.contract.finding import require
from xgbpatch.contract.models import background
from xgbpatch.contract.payload import json_scores
from xgbpatch.contract.serve import equal, ok
from xgbpatch.contract.server import SHAP_PROBABILITY, SHAP_SELECTED
from xgbpatch.contract.session import Session
from xgbpatch.contract.truth import SAMPLE


def values(session: Session) -> str:
    """XGBPATCH_SHAP_SPACE=probability: base value and values sum to the probability that is served."""
    answer = ok(session, SHAP_PROBABILITY, shap.sample(session, "application/json"))
    truth = session.truth(SHAP_PROBABILITY, SAMPLE)
    equal(json_scores(answer), truth.served)
    equal([record.sums for record in shap.records(answer)], truth.served, explained.TOLERANCE)
    stated = answer.headers.get(shap_request.ATTRIBUTES.lower(), "")
    require("space=probability" in stated, f'the header {shap_request.ATTRIBUTES} of the answer is "{stated}"')
    return f"{SAMPLE} rows, summing to the probability"


def base_value(session: Session) -> str:
    """The base value is the mean probability of the background rows."""
    answer = ok(session, SHAP_PROBABILITY, shap.sample(session, "application/json"))
    count = len(abalone.rows())
    probabilities = [row[0] for row in session.truth(SHAP_PROBABILITY, count).served[-len(background()) :]]
    mean = sum(probabilities) / len(probabilities)
    equal([record.bases for record in shap.records(answer)], [(mean,)] * SAMPLE, explained.TOLERANCE)
    return f"{mean:.4f}, the mean of {len(probabilities)} rows"


def refused(session: Session) -> str:
    """A regression has no probability: a request for it is a 400 with the reason."""
    asked = shap_request.with_options(shap.sample(session, "text/csv"), "shap=on;space=probability")
    answer = session.server(SHAP_SELECTED).ask(asked)
    require(answer.status == 400, f"answered {answer}, not 400")
    require("probability" in answer.text, f"the refusal does not say what it is about: {answer}")
    return answer.text.strip()
