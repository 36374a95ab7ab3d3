"""One check for each fix of serving that an image carries: the base's bug is gone."""

from __future__ import annotations

from dataclasses import replace

from xgbpatch.contract import payloads
from xgbpatch.contract.checks import multi_model, shap
from xgbpatch.contract.checks.serve import equal, ok, typed
from xgbpatch.contract.http import Answer, Request, invocation
from xgbpatch.contract.model import Violation, require
from xgbpatch.contract.oracle import SAMPLE
from xgbpatch.contract.payloads import Row, csv_scores, json_lines_scores
from xgbpatch.contract.payloads import csv as csv_body
from xgbpatch.contract.server import MULTI_MODEL, PLAIN, SELECTABLE, UNLOADABLE, VOTES, VOTES_MULTI_MODEL
from xgbpatch.contract.session import UNPICKLED, Session


def libsvm_skew(session: Session) -> str:
    """libsvm-skew: libsvm rows whose indices begin at 1 score as the booster scores them, column 0 being absent."""
    rows = [(float("nan"), *row[1:]) for row in session.rows[:SAMPLE]]
    truth = ok(session, PLAIN, invocation(csv_body(rows), "text/csv", "text/csv"))
    answer = ok(session, PLAIN, invocation(_from_one(rows), "text/libsvm", "text/csv"))
    return equal(csv_scores(answer), csv_scores(truth))


def jsonlines_accept(session: Session) -> str:
    """jsonlines-accept: `Accept: application/jsonlines` gets one `{"score": …}` a line."""
    answer = ok(session, PLAIN, shap.sample(session, "application/jsonlines"))
    typed(answer, "application/jsonlines")
    return equal(json_lines_scores(answer), session.truth(PLAIN, SAMPLE).served)


def recordio_growth(session: Session) -> str:
    """recordio-growth: of recordio-protobuf answers of selectable inference each record holds its own keys only."""
    accept = "application/x-recordio-protobuf"
    rows = session.rows[:SAMPLE]
    many, one = (ok(session, SELECTABLE, invocation(csv_body(part), "text/csv", accept)) for part in (rows, rows[:1]))
    require(len(many.body) == len(rows) * len(one.body),
            f"{len(rows)} records take {len(many.body)} bytes, and the first alone {len(one.body)}")  # fmt: skip
    return f"{len(rows)} records, {len(many.body)} bytes"


def ensemble_vote(session: Session) -> str:
    """ensemble-vote: models that say 0 or 1 are served as what most of them say."""
    truth = session.truth(VOTES, SAMPLE)
    answer = ok(session, VOTES, invocation(csv_body(payloads.abalone_rows()[:SAMPLE]), "text/csv", "text/csv"))
    equal(csv_scores(answer), truth.served)
    return f"{SAMPLE} rows, equal to the vote of {len(truth.members)} models"


def mme_errors(session: Session) -> str:
    """mme-errors: a multi-model server answers a bad request with its own status and says what is wrong."""
    multi_model.ensure_loaded(session)
    path = f"/models/{multi_model.NAME}/invoke"
    good = csv_body(session.rows[:1])
    cases = (
        ("an unknown content type", invocation(good, "application/x-unknown"), 415),
        ("a CSV body that is none", invocation(b"junk, not numbers", "text/csv"), 415),
        ("an unknown accept type", invocation(good, "text/csv", "image/png"), 406),
        ("more columns than the model has", _too_wide(session.rows[0]), 400),
    )
    answers = [(why, session.server(MULTI_MODEL).ask(replace(request, path=path)), status)
               for why, request, status in cases]  # fmt: skip
    wrong = [f"{why}: answered {answer}, not {status}" for why, answer, status in answers
             if answer.status != status or not _says_more(answer)]  # fmt: skip
    require(not wrong, "; ".join(wrong))
    return ", ".join(str(status) for *_, status in cases)


def mme_ensemble_vote(session: Session) -> str:
    """mme-ensemble-vote: a multi-model server serves what most of the models of an ensemble say, not their mean."""
    server = session.server(VOTES_MULTI_MODEL)
    loaded = server.ask(multi_model.LOAD)
    require(loaded.status == 200, f"POST /models answered {loaded}, not 200")
    request = shap.sample(session, "application/json")
    answer = ok(session, VOTES_MULTI_MODEL, replace(request, path=f"/models/{multi_model.NAME}/invoke"))
    equal(multi_model.scores(answer), session.truth(VOTES_MULTI_MODEL, SAMPLE).served)
    return f"{SAMPLE} rows, equal to the vote"


def serve_exit_code(session: Session) -> str:
    """serve-exit-code: `serve` of a model that cannot be loaded does not end with 0, as if it had been asked to."""
    ended = session.ended(UNLOADABLE)
    require(ended.exit_code != 0, "`serve` of a file that is no model ended with exit code 0")
    return f"exit code {ended.exit_code}"


def pickle_refused(session: Session) -> str:
    """pickle-refused: a model file that is a pickle is not loaded, which would run its code, and the log says why."""
    ended = session.ended(UNLOADABLE)
    log = ended.stdout + ended.stderr
    require(UNPICKLED not in log, "`serve` unpickled the model file, and so ran the code in it")
    if "pickle" not in log:
        raise Violation("`serve` did not load the pickle, and its log does not say that it was one")
    return "the pickle was not loaded, and the log says why"


def _from_one(rows: list[Row]) -> bytes:
    return "\n".join(" ".join(f"{at}:{value!r}" for at, value in enumerate(row) if at) for row in rows).encode()


def _too_wide(row: Row) -> Request:
    return invocation(csv_body([(*row, 1.0, 2.0, 3.0)]), "text/csv")


def _says_more(answer: Answer) -> bool:
    return bool(answer.body.strip()) and b"Prediction failed" not in answer.body
