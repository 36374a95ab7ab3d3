"""One check for each fix of serving that an image carries: the base's bug is gone."""

from __future__ import annotations

from dataclasses import replace

from xgbpatch.contract import payloads
from xgbpatch.contract.checks import multi_model
from xgbpatch.contract.checks.serve import equal, ok, sample, typed
from xgbpatch.contract.http import invocation
from xgbpatch.contract.model import require
from xgbpatch.contract.oracle import SAMPLE
from xgbpatch.contract.payloads import csv, csv_scores, json_lines_scores
from xgbpatch.contract.server import MULTI_MODEL, PLAIN, SELECTABLE, UNLOADABLE, VOTES, VOTES_MULTI_MODEL
from xgbpatch.contract.session import UNPICKLED, Session


def libsvm_skew(session: Session) -> str:
    """libsvm-skew: libsvm rows whose indices begin at 1 score as the booster scores them, column 0 being absent."""
    rows = [(float("nan"), *row[1:]) for row in session.rows[:SAMPLE]]
    truth = ok(session, PLAIN, invocation(csv(rows), "text/csv", "text/csv"))
    from_one = (" ".join(f"{at}:{value!r}" for at, value in enumerate(row) if at) for row in rows)
    answer = ok(session, PLAIN, invocation("\n".join(from_one).encode(), "text/libsvm", "text/csv"))
    return equal(csv_scores(answer), csv_scores(truth))


def jsonlines_accept(session: Session) -> str:
    """jsonlines-accept: `Accept: application/jsonlines` gets one `{"score": …}` a line."""
    answer = ok(session, PLAIN, sample(session, "application/jsonlines"))
    typed(answer, "application/jsonlines")
    return equal(json_lines_scores(answer), session.truth(PLAIN, SAMPLE).served)


def recordio_growth(session: Session) -> str:
    """recordio-growth: of recordio-protobuf answers of selectable inference each record holds its own keys only."""
    accept = "application/x-recordio-protobuf"
    rows = session.rows[:SAMPLE]
    many, one = (ok(session, SELECTABLE, invocation(csv(part), "text/csv", accept)) for part in (rows, rows[:1]))
    require(len(many.body) == len(rows) * len(one.body),
            f"{len(rows)} records take {len(many.body)} bytes, and the first alone {len(one.body)}")  # fmt: skip
    return f"{len(rows)} records, {len(many.body)} bytes"


def ensemble_vote(session: Session) -> str:
    """ensemble-vote: models that say 0 or 1 are served as what most of them say."""
    truth = session.truth(VOTES, SAMPLE)
    answer = ok(session, VOTES, invocation(csv(payloads.abalone_rows()[:SAMPLE]), "text/csv", "text/csv"))
    equal(csv_scores(answer), truth.served)
    return f"{SAMPLE} rows, equal to the vote of {len(truth.members)} models"


def mme_errors(session: Session) -> str:
    """mme-errors: a multi-model server answers a bad request with its own status and says what is wrong."""
    multi_model.ensure_loaded(session)
    good, wide = csv(session.rows[:1]), csv([(*session.rows[0], 1.0, 2.0, 3.0)])
    cases = (
        ("an unknown content type", invocation(good, "application/x-unknown"), 415),
        ("a CSV body that is none", invocation(b"junk, not numbers", "text/csv"), 415),
        ("an unknown accept type", invocation(good, "text/csv", "image/png"), 406),
        ("more columns than the model has", invocation(wide, "text/csv"), 400),
    )
    wrong = []
    for why, request, status in cases:
        answer = session.server(MULTI_MODEL).ask(replace(request, path=multi_model.INVOKE))
        says_more = answer.body.strip() and b"Prediction failed" not in answer.body
        if answer.status != status or not says_more:
            wrong.append(f"{why}: answered {answer}, not {status}")
    require(not wrong, "; ".join(wrong))
    return ", ".join(str(status) for *_, status in cases)


def mme_ensemble_vote(session: Session) -> str:
    """mme-ensemble-vote: a multi-model server serves what most of the models of an ensemble say, not their mean."""
    multi_model.load_model(session, VOTES_MULTI_MODEL)
    answer = ok(session, VOTES_MULTI_MODEL, replace(sample(session, "application/json"), path=multi_model.INVOKE))
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
    require("pickle" in log, "`serve` did not load the pickle, and its log does not say that it was one")
    return "the pickle was not loaded, and the log says why"
