"""Checks of the multi-model server: load, list, invoke, unload, as SageMaker calls it, and the fixes of it."""

from __future__ import annotations

import json
import time
from dataclasses import replace

from xgbpatch.contract.checks.serve import equal, ok, sample
from xgbpatch.contract.http import Answer, Request, invocation
from xgbpatch.contract.model import Violation, require
from xgbpatch.contract.oracle import SAMPLE
from xgbpatch.contract.payloads import Row, csv, vector
from xgbpatch.contract.server import MODEL_FOLDER, MULTI_MODEL, SECOND_FOLDER, SECOND_NAME, Stack
from xgbpatch.contract.session import Session

NAME = MODEL_FOLDER
URL = MULTI_MODEL.folder
INVOKE = f"/models/{NAME}/invoke"
_LOOKED_FOR_SECONDS = 11.0  # the base ends the search after ten


def load_request(name: str, folder: str) -> Request:
    """Load the model of a folder under that name."""
    document = json.dumps({"model_name": name, "url": folder})
    return Request("POST", "/models", (("Content-Type", "application/json"),), document.encode())


LOAD = load_request(NAME, URL)


def ping(session: Session) -> str:
    """The server is healthy with no model loaded."""
    answer = _ask(session, "GET", "/ping")
    require(answer.status == 200, f"/ping answered {answer}, not 200")
    return "200"


def load(session: Session) -> str:
    """POST /models loads a model by name and folder."""
    require(NAME not in _listed(session), f'the model "{NAME}" is listed before it was loaded')
    load_model(session, MULTI_MODEL)
    return "200"


def listing(session: Session) -> str:
    """GET /models names the loaded model and its folder."""
    ensure_loaded(session)
    models = _listed(session)
    require(models.get(NAME) == URL, f'GET /models names {models}, not "{NAME}" at "{URL}"')
    return f"{len(models)} model"


def double_load(session: Session) -> str:
    """Loading a loaded model again is a conflict, which SageMaker takes for success."""
    ensure_loaded(session)
    answer = session.server(MULTI_MODEL).ask(LOAD)
    require(answer.status == 409, f"the second load answered {answer}, not 409")
    return "409"


def invoke(session: Session) -> str:
    """POST /models/<name>/invoke scores as the image's own xgboost does: a JSON list by default, CSV where asked."""
    ensure_loaded(session)
    expected = session.truth(MULTI_MODEL, SAMPLE).served
    as_json, as_csv = (
        ok(session, MULTI_MODEL, replace(sample(session, accept), path=INVOKE))
        for accept in ("application/json", "text/csv")
    )
    equal(scores(as_json), expected)
    if len(expected[0]) == 1:
        try:
            line = [(float(cell),) for cell in as_csv.text.strip().split(",")]
        except ValueError as error:
            raise Violation(f"answered {as_csv}, not one line of scores") from error
        equal(line, expected)
    return f"{len(expected)} rows, equal to the booster's, as JSON and CSV"


def unknown(session: Session) -> str:
    """A model that was never loaded is 404 for GET, invoke and DELETE."""
    requests = (("GET", "/models/no-such"), ("POST", "/models/no-such/invoke"), ("DELETE", "/models/no-such"))
    for method, path in requests:
        answer = _ask(session, method, path)
        require(answer.status == 404, f"{method} {path} answered {answer}, not 404")
    return "404"


def unload(session: Session) -> str:
    """DELETE /models/<name> removes the model: no longer listed, invoke is 404."""
    ensure_loaded(session)
    answer = _ask(session, "DELETE", f"/models/{NAME}")
    require(answer.status == 200, f"DELETE answered {answer}, not 200")
    require(NAME not in _listed(session), "the model is still listed after DELETE")
    answer_after = _ask(session, "POST", INVOKE)
    require(answer_after.status == 404, f"invoke after DELETE answered {answer_after}, not 404")
    return "gone"


def mme_errors(session: Session) -> str:
    """mme-errors: a multi-model server answers a bad request with its own status and says what is wrong."""
    ensure_loaded(session)
    good, wide = csv(session.rows[:1]), csv([(*session.rows[0], 1.0, 2.0, 3.0)])
    cases = (
        ("an unknown content type", invocation(good, "application/x-unknown"), 415),
        ("a CSV body that is none", invocation(b"junk, not numbers", "text/csv"), 415),
        ("an unknown accept type", invocation(good, "text/csv", "image/png"), 406),
        ("more columns than the model has", invocation(wide, "text/csv"), 400),
    )
    wrong = []
    for why, request, status in cases:
        answer = session.server(MULTI_MODEL).ask(replace(request, path=INVOKE))
        says_more = answer.body.strip() and b"Prediction failed" not in answer.body
        if answer.status != status or not says_more:
            wrong.append(f"{why}: answered {answer}, not {status}")
    require(not wrong, "; ".join(wrong))
    return ", ".join(str(status) for *_, status in cases)


def mme_start(session: Session) -> str:
    """mme-start: the multi-model server runs when the base would have given up the search for it, ten seconds on."""
    started = session.server(MULTI_MODEL)
    require("Fix mme-start" in started.container.stdout() + started.container.stderr(), "its log does not name the fix")
    time.sleep(max(0.0, started.begun + _LOOKED_FOR_SECONDS - time.monotonic()))
    if not started.container.running:
        raise Violation(f"the multi-model server ended with exit code {started.container.wait(5)}")
    return f"runs {time.monotonic() - started.begun:.0f} s after its start"


def mme_ensemble_vote(session: Session) -> str:
    """mme-ensemble-vote: a multi-model server serves what most of the models of an ensemble say, not their mean."""
    truth = session.second_models(MULTI_MODEL).head(SAMPLE)
    load_model(session, MULTI_MODEL, load_request(SECOND_NAME, SECOND_FOLDER))
    try:
        request = invocation(csv(truth.rows), "text/csv", "application/json")
        answer = ok(session, MULTI_MODEL, replace(request, path=f"/models/{SECOND_NAME}/invoke"))
        equal(scores(answer), truth.served)
    finally:
        _ask(session, "DELETE", f"/models/{SECOND_NAME}")
    return f"{SAMPLE} rows, equal to the vote"


_BESIDE = {
    "requirements.txt": b"xgboost\n",
    "metadata.yaml": b"name: abalone\n",
    "code/inference.py": b"import xgboost\n",
}
_LOGGED_SECONDS = 60.0  # the model server hands on what its workers print, when it has the time


def model_files(session: Session) -> str:
    """model-files: other files beside a model are passed over, the log names them, and the scores are the booster's."""
    folder = session.put_below_second(MULTI_MODEL, "beside", {**session.served_files(MULTI_MODEL), **_BESIDE})
    load_model(session, MULTI_MODEL, load_request("beside", folder))
    try:
        request = replace(sample(session, "application/json"), path="/models/beside/invoke")
        summary = equal(scores(ok(session, MULTI_MODEL, request)), session.truth(MULTI_MODEL, SAMPLE).served)
        _logged(session, '"metadata.yaml"', '"requirements.txt"')
    finally:
        _ask(session, "DELETE", "/models/beside")
    return summary


def model_missing(session: Session) -> str:
    """model-missing: a model one folder down is refused when it is loaded, and the log says how to pack it."""
    deeper = {f"model/{name}": content for name, content in session.served_files(MULTI_MODEL).items()}
    return _refused(session, "deeper", deeper, "tar -czf model.tar.gz -C FOLDER xgboost-model")


def model_formats(session: Session) -> str:
    """model-formats: a model of a newer xgboost is refused when it is loaded, and the log says by which."""
    newer = b'{"learner":{"attributes":{}},"version":[99,0,0]}'
    return _refused(session, "newer", {"xgboost-model": newer}, "xgboost 99.0, and this image has")


def _refused(session: Session, name: str, files: dict[str, bytes], reason: str) -> str:
    folder = session.put_below_second(MULTI_MODEL, name, files)
    answer = session.server(MULTI_MODEL).ask(load_request(name, folder))
    require(answer.status == 500, f"POST /models answered {answer}, not 500")
    _logged(session, reason)
    return "500, and the log says why"


def _logged(session: Session, *texts: str) -> None:
    """Wait until the log of the server has a line with those texts."""
    container, deadline = session.server(MULTI_MODEL).container, time.monotonic() + _LOGGED_SECONDS
    while time.monotonic() < deadline:
        lines = (container.stdout() + container.stderr()).splitlines()
        if any(all(text in line for text in texts) for line in lines):
            return
        time.sleep(0.2)
    raise Violation(f"no line of the log has {' and '.join(texts)}")


def _ask(session: Session, method: str, path: str) -> Answer:
    return session.server(MULTI_MODEL).ask(Request(method, path))


def load_model(session: Session, stack: Stack, request: Request = LOAD) -> None:
    """Load a model on the multi-model server of `stack`."""
    answer = session.server(stack).ask(request)
    require(answer.status == 200, f"POST /models answered {answer}, not 200")


def ensure_loaded(session: Session) -> None:
    """Load the model unless it is listed."""
    if NAME not in _listed(session):
        load_model(session, MULTI_MODEL)


def ensure_unloaded(session: Session) -> None:
    """Unload the model where an earlier check left it loaded."""
    if NAME in _listed(session):
        _ask(session, "DELETE", f"/models/{NAME}")


def _listed(session: Session) -> dict[str, str]:
    answer = _ask(session, "GET", "/models")
    document = answer.json()
    try:
        return {model["modelName"]: model["modelUrl"] for model in document["models"]}
    except (KeyError, TypeError) as error:
        raise Violation(f"GET /models answered {answer}, not a list of models") from error


def scores(answer: Answer) -> list[Row]:
    """The numbers of a JSON list, one or a list of them a record; raises `Violation` on another shape."""
    document = answer.json()
    try:
        return [vector(row) for row in document]
    except (TypeError, ValueError) as error:
        raise Violation(f"answered {answer}, not a JSON list of scores") from error
