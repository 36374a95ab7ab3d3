"""Checks of the single-model server: nginx and gunicorn as the image starts them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from xgbpatch.contract import recordio
from xgbpatch.contract.exchange import Answer, Request, invocation
from xgbpatch.contract.finding import Violation, require
from xgbpatch.contract.payload import CONTENT_TYPES, Row, csv, csv_scores, json_lines_scores, json_scores
from xgbpatch.contract.server import BOUND, PLAIN, SELECTABLE, Stack
from xgbpatch.contract.session import Session
from xgbpatch.contract.truth import SAMPLE

PING_SECONDS = 2  # SageMaker's limit for /ping
UNSUPPORTED = "unsupported for selectable inference predictions"


def cold_start(session: Session) -> str:
    """The seconds from the container's start to the first 200 of /ping."""
    seconds = session.server(PLAIN).cold_start or 0.0
    require(seconds <= session.options.ready, f"{seconds:.1f} s to the first 200 of /ping")
    return f"{seconds:.1f} s to the first 200 of /ping"


def ping(session: Session) -> str:
    """/ping answers 200 with an empty body."""
    answer = session.server(PLAIN).ask(Request(path="/ping"))
    require(answer.status == 200 and not answer.body, f"answered {answer}, not an empty 200")
    return "200, empty"


def execution_parameters(session: Session) -> str:
    """/execution-parameters tells batch transform how much to send."""
    parameters = execution(session, PLAIN)
    require(parameters.get("BatchStrategy") == "MULTI_RECORD", f"BatchStrategy is not MULTI_RECORD in {parameters}")
    for name in ("MaxConcurrentTransforms", "MaxPayloadInMB"):
        value = parameters.get(name)
        require(isinstance(value, int) and value >= 1, f"{name} is no positive integer in {parameters}")
    return ", ".join(f"{name} {value}" for name, value in sorted(parameters.items()))


def execution(session: Session, stack: Stack) -> dict[str, object]:
    """The object that /execution-parameters answers."""
    answer = session.server(stack).ask(Request(path="/execution-parameters"))
    document = answer.json()
    require(answer.status == 200 and isinstance(document, dict), f"answered {answer}, not 200 and an object")
    return dict(document)


def content_type(name: str) -> Callable[[Session], str]:
    """The check of one content type in: the scores are the booster's."""

    def observe(session: Session) -> str:
        rows = session.rows[:SAMPLE]
        kind = CONTENT_TYPES[name]
        answer = ok(session, PLAIN, invocation(kind.encode(rows), kind.header, "text/csv"))
        return equal(csv_scores(answer), session.truth(PLAIN, len(rows)).served)

    return observe


def accept_csv(session: Session) -> str:
    """One row a line, each ended by a newline, labelled text/csv."""
    rows = session.rows[:SAMPLE]
    answer = ok(session, PLAIN, invocation(csv(rows), "text/csv", "text/csv"))
    typed(answer, "text/csv")
    require(answer.body.endswith(b"\n"), f"answered {answer}, without a newline after the last row")
    return equal(csv_scores(answer), session.truth(PLAIN, len(rows)).served)


def accept_json(session: Session) -> str:
    """`{"predictions": [{"score": …}]}`, labelled application/json."""
    rows = session.rows[:SAMPLE]
    answer = ok(session, PLAIN, invocation(csv(rows), "text/csv", "application/json"))
    typed(answer, "application/json")
    return equal(json_scores(answer), session.truth(PLAIN, len(rows)).served)


def predictions(session: Session) -> str:
    """Every row scores over HTTP exactly as the image's own xgboost scores it in the container."""
    rows = session.rows
    answer = ok(session, PLAIN, invocation(csv(rows), "text/csv", "text/csv"))
    return equal(csv_scores(answer), session.truth(PLAIN, len(rows)).served)


def selectable(session: Session) -> str:
    """SAGEMAKER_INFERENCE_OUTPUT: the chosen key carries the score, the inapplicable one NaN, in three formats."""
    answer = _select(session, "application/json")
    if answer.status == 500 and UNSUPPORTED in answer.text:
        return f"refused as documented: objective {session.description(SELECTABLE).objective}"
    key, other = _keys(session)
    expected = _selected(session)
    equal(json_scores(answer, key), expected)
    require(all(math.isnan(row[0]) for row in json_scores(answer, other)), f'"{other}" does not apply but is not NaN')
    columns = csv_scores(_select(session, "text/csv"))
    equal([(row[0 if key == "predicted_score" else -1],) for row in columns], expected)
    _counted(_select(session, "application/x-recordio-protobuf"), len(expected))
    return f"{key} in JSON, CSV and recordio-protobuf, {len(expected)} rows"


def accept_jsonlines(session: Session) -> str:
    """JSON Lines, which the base speaks with SAGEMAKER_INFERENCE_OUTPUT only: one object a line."""
    answer = _select(session, "application/jsonlines")
    if answer.status == 500 and UNSUPPORTED in answer.text:
        return f"refused as documented: objective {session.description(SELECTABLE).objective}"
    require(answer.status == 200, f"answered {answer}, not 200")
    typed(answer, "application/jsonlines")
    return equal(json_lines_scores(answer, _keys(session)[0]), _selected(session))


def bind_port(session: Session) -> str:
    """SAGEMAKER_BIND_TO_PORT moves the server, as inference pipelines need it."""
    rows = session.rows[:SAMPLE]
    answer = ok(session, BOUND, invocation(csv(rows), "text/csv"))
    require(len(csv_scores(answer)) == len(rows), f"answered {answer}, not {len(rows)} rows")
    return f"serves on port {BOUND.port}"


def stop(session: Session) -> str:
    """SIGTERM ends the container within SageMaker's grace time, so that no SIGKILL is needed."""
    server = session.server(PLAIN)
    seconds = server.container.stop("SIGTERM", session.options.grace)
    if seconds is None:
        raise Violation(f"still running {session.options.grace:g} s after SIGTERM: SageMaker would kill it")
    return f"ended {seconds:.1f} s after SIGTERM with exit code {server.container.wait(5)}"


def ok(session: Session, stack: Stack, request: Request) -> Answer:
    """The answer to a request that must succeed; raises `Violation` on another status."""
    answer = session.server(stack).ask(request)
    require(answer.status == 200, f"{request}: answered {answer}, not 200")
    return answer


def typed(answer: Answer, expected: str) -> None:
    """The answer's Content-Type, parameters aside."""
    found = answer.headers.get("content-type", "")
    require(found.partition(";")[0].strip() == expected, f'Content-Type is "{found}", not "{expected}"')


def equal(found: Sequence[Row], expected: Sequence[Row], tolerance: float = 0.0) -> str:
    """Hold scores to the truth, `tolerance` relative to max(1, |value|); returns the reason for a pass."""
    require(len(found) == len(expected), f"{len(found)} rows came back for {len(expected)}")
    for number, (row, true) in enumerate(zip(found, expected, strict=True), 1):
        close = len(row) == len(true) and all(_close(a, b, tolerance) for a, b in zip(row, true, strict=True))
        require(close, f"row {number} scores {_shown(row)}, and the booster says {_shown(true)}")
    return f"{len(found)} rows, equal to the booster's"


def _close(found: float, expected: float, tolerance: float) -> bool:
    return abs(found - expected) <= tolerance * max(1.0, abs(expected))


def _shown(row: Row) -> str:
    return ", ".join(f"{value:.9g}" for value in row[:4]) + (", …" if len(row) > 4 else "")


def _select(session: Session, accept: str) -> Answer:
    return session.server(SELECTABLE).ask(invocation(csv(session.rows[:SAMPLE]), "text/csv", accept))


def _keys(session: Session) -> tuple[str, str]:
    """The key that applies to the objective, and the one that does not."""
    regression = session.description(SELECTABLE).objective.startswith("reg:")
    return ("predicted_score", "raw_score") if regression else ("raw_score", "predicted_score")


def _selected(session: Session) -> list[Row]:
    """A vector of class probabilities has its largest as raw score (facts 2.5)."""
    return [(max(row),) for row in session.truth(SELECTABLE, SAMPLE).served]


def _counted(answer: Answer, expected: int) -> None:
    require(answer.status == 200, f"answered {answer}, not 200")
    try:
        found = recordio.count(answer.body)
    except ValueError as error:
        raise Violation(f"no recordio-protobuf: {error}") from error
    require(found == expected, f"{found} records came back for {expected} rows")
