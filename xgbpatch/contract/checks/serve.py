"""The single-model server: health, content types, errors, ensembles, batches, the engine of `daal4py`, and fixes."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from xgbpatch.contract import payloads, server
from xgbpatch.contract.http import ENGINE_HEADER, Answer, Request, difference, invocation
from xgbpatch.contract.model import NotApplicable, Violation, require
from xgbpatch.contract.oracle import SAMPLE
from xgbpatch.contract.payloads import CONTENT_TYPES, Row, csv, csv_scores, json_lines_scores, json_scores, vector
from xgbpatch.contract.server import Stack, settled
from xgbpatch.contract.session import UNPICKLED, Session
from xgbpatch.spec import Architecture

UNSUPPORTED = "unsupported for selectable inference predictions"


def cold_start(session: Session) -> str:
    """The seconds from the container's start to the first 200 of /ping."""
    seconds = session.server(server.PLAIN).cold_start or 0.0
    require(seconds <= session.options.ready, f"{seconds:.1f} s to the first 200 of /ping")
    return f"{seconds:.1f} s to the first 200 of /ping"


def ping(session: Session) -> str:
    """/ping answers 200 with an empty body."""
    answer = session.server(server.PLAIN).ask(Request(path="/ping"))
    require(answer.status == 200 and not answer.body, f"answered {answer}, not an empty 200")
    return "200, empty"


def execution_parameters(session: Session) -> str:
    """/execution-parameters tells batch transform how much to send."""
    parameters = execution(session, server.PLAIN)
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
        answer = ok(session, server.PLAIN, invocation(kind.encode(rows), kind.header, "text/csv"))
        return equal(csv_scores(answer), session.truth(server.PLAIN, len(rows)).served)

    return observe


def accept_csv(session: Session) -> str:
    """One row a line, each ended by a newline, labelled text/csv."""
    answer = ok(session, server.PLAIN, sample(session, "text/csv"))
    typed(answer, "text/csv")
    require(answer.body.endswith(b"\n"), f"answered {answer}, without a newline after the last row")
    return equal(csv_scores(answer), session.truth(server.PLAIN, SAMPLE).served)


def accept_json(session: Session) -> str:
    """`{"predictions": [{"score": …}]}`, labelled application/json."""
    answer = ok(session, server.PLAIN, sample(session, "application/json"))
    typed(answer, "application/json")
    return equal(json_scores(answer), session.truth(server.PLAIN, SAMPLE).served)


def predictions(session: Session) -> str:
    """Every row scores over HTTP exactly as the image's own xgboost scores it in the container."""
    rows = session.rows
    answer = ok(session, server.PLAIN, invocation(csv(rows), "text/csv", "text/csv"))
    return equal(csv_scores(answer), session.truth(server.PLAIN, len(rows)).served)


def selectable(session: Session) -> str:
    """SAGEMAKER_INFERENCE_OUTPUT: the chosen key carries the score, the inapplicable one NaN, in three formats."""
    answer = _select(session, "application/json")
    if answer.status == 500 and UNSUPPORTED in answer.text:
        return f"refused as documented: objective {session.description(server.SELECTABLE).objective}"
    key, other = _keys(session)
    expected = _selected(session)
    equal(json_scores(answer, key), expected)
    require(all(math.isnan(row[0]) for row in json_scores(answer, other)), f'"{other}" does not apply but is not NaN')
    columns = csv_scores(_select(session, "text/csv"))
    equal([(row[0 if key == "predicted_score" else -1],) for row in columns], expected)
    answer = _select(session, "application/x-recordio-protobuf")
    require(answer.status == 200, f"answered {answer}, not 200")
    try:
        records = payloads.recordio_count(answer.body)
    except ValueError as error:
        raise Violation(f"no recordio-protobuf: {error}") from error
    require(records == len(expected), f"{records} records came back for {len(expected)} rows")
    return f"{key} in JSON, CSV and recordio-protobuf, {len(expected)} rows"


def accept_jsonlines(session: Session) -> str:
    """JSON Lines, which the base speaks with SAGEMAKER_INFERENCE_OUTPUT only: one object a line."""
    answer = _select(session, "application/jsonlines")
    if answer.status == 500 and UNSUPPORTED in answer.text:
        return f"refused as documented: objective {session.description(server.SELECTABLE).objective}"
    require(answer.status == 200, f"answered {answer}, not 200")
    typed(answer, "application/jsonlines")
    return equal(json_lines_scores(answer, _keys(session)[0]), _selected(session))


def bind_port(session: Session) -> str:
    """SAGEMAKER_BIND_TO_PORT moves the server, as inference pipelines need it."""
    rows = session.rows[:SAMPLE]
    answer = ok(session, server.BATCH, invocation(csv(rows), "text/csv"))
    require(len(_scores(answer)) == len(rows), f"answered {answer}, not {len(rows)} rows")
    return f"serves on port {server.BATCH.port}"


def stop(session: Session) -> str:
    """SIGTERM ends the container within SageMaker's grace time, so that no SIGKILL is needed."""
    plain = session.server(server.PLAIN)
    seconds = plain.container.stop("SIGTERM", session.options.grace)
    if seconds is None:
        raise Violation(f"still running {session.options.grace:g} s after SIGTERM: SageMaker would kill it")
    return f"ended {seconds:.1f} s after SIGTERM with exit code {plain.container.wait(5)}"


def ok(session: Session, stack: Stack, request: Request) -> Answer:
    """The answer to a request that must succeed; raises `Violation` on another status."""
    answer = session.server(stack).ask(request)
    require(answer.status == 200, f"{request}: answered {answer}, not 200")
    return answer


def sample(session: Session, accept: str) -> Request:
    """The first rows as CSV."""
    return invocation(csv(session.rows[:SAMPLE]), "text/csv", accept)


def typed(answer: Answer, expected: str) -> None:
    """The answer's Content-Type, parameters aside."""
    kind = answer.headers.get("content-type", "")
    require(kind.partition(";")[0].strip() == expected, f'Content-Type is "{kind}", not "{expected}"')


def equal(scores: Sequence[Row], expected: Sequence[Row], tolerance: float = 0.0) -> str:
    """Hold scores to the truth, `tolerance` relative to max(1, |value|); returns the reason for a pass."""
    require(len(scores) == len(expected), f"{len(scores)} rows came back for {len(expected)}")
    for number, (row, true) in enumerate(zip(scores, expected, strict=True), 1):
        close = len(row) == len(true) and all(
            abs(score - value) <= tolerance * max(1.0, abs(value)) for score, value in zip(row, true, strict=True)
        )
        require(close, f"row {number} scores {_shown(row)}, and the booster says {_shown(true)}")
    return f"{len(scores)} rows, equal to the booster's"


def _shown(row: Row) -> str:
    return ", ".join(f"{value:.9g}" for value in row[:4]) + (", …" if len(row) > 4 else "")


def _select(session: Session, accept: str) -> Answer:
    return session.server(server.SELECTABLE).ask(sample(session, accept))


def _keys(session: Session) -> tuple[str, str]:
    """The key that applies to the objective, and the one that does not."""
    regression = session.description(server.SELECTABLE).objective.startswith("reg:")
    return ("predicted_score", "raw_score") if regression else ("raw_score", "predicted_score")


def _selected(session: Session) -> list[Row]:
    """A vector of class probabilities has its largest as raw score."""
    return [(max(row),) for row in session.truth(server.SELECTABLE, SAMPLE).served]


# The check of every documented error code of the single-model server.


LIMIT = 6 * 2**20  # bytes; MAX_CONTENT_LENGTH where it is not set


@dataclass(frozen=True)
class Refusal:
    """A request that must be refused, why in words, and the documented status."""

    why: str
    request: Request
    status: int


TOO_LARGE = Refusal("a body over 6 MiB", invocation(b"1" * (LIMIT + 1), "text/csv"), 413)


def refusals(row: Row) -> tuple[Refusal, ...]:
    """The refusals that do not depend on size, made from one good row."""
    good = csv([row])
    return (
        Refusal("an empty body", invocation(b"", "text/csv"), 204),
        Refusal("an unknown content type", invocation(good, "application/x-unknown"), 415),
        Refusal("a CSV body that is none", invocation(b"junk, not numbers", "text/csv"), 415),
        Refusal("a libsvm body that is none", invocation(b"junk:not numbers", "text/libsvm"), 415),
        Refusal("a recordio body that is none", invocation(b"junk", "application/x-recordio-protobuf"), 415),
        Refusal("a label_size other than 1", invocation(good, "text/csv; label_size=2"), 415),
        Refusal("an unknown accept type", invocation(good, "text/csv", "image/png"), 406),
        Refusal("more columns than the model has", invocation(csv([(*row, 1.0, 2.0, 3.0)]), "text/csv"), 400),
        Refusal("an unknown path", Request(path="/no-such-path"), 404),
        Refusal("GET on /invocations", Request(), 405),
    )


def error_answers(session: Session) -> str:
    """Each refused request gets its documented status; an image that answers 200 to anything fails here."""
    plain = session.server(server.PLAIN)
    answers = [(refusal, plain.ask(refusal.request)) for refusal in refusals(session.rows[0])]
    answers.append((TOO_LARGE, settled(plain, TOO_LARGE.request)))
    wrong = [f"{refusal.why}: answered {answer}, not {refusal.status}"
             for refusal, answer in answers if answer.status != refusal.status]  # fmt: skip
    require(not wrong, "; ".join(wrong))
    return ", ".join(sorted({str(refusal.status) for refusal, _ in answers}))


# The check of several model files in one directory.


_FLOAT32 = 1e-6  # the server takes the mean in single precision


def ensemble_mean(session: Session) -> str:
    """Two regression models in the model directory are served as the mean of both."""
    rows = payloads.abalone_rows()[:SAMPLE]
    truth = session.truth(server.ENSEMBLE, len(rows))
    require(len(truth.members) == 2, f"{len(truth.members)} models lie in the model directory, not 2")
    answer = ok(session, server.ENSEMBLE, invocation(csv(rows), "text/csv", "text/csv"))
    equal(csv_scores(answer), truth.mean, _FLOAT32)
    return f"{len(rows)} rows, equal to the mean of 2 models"


# Checks of batch transform: SAGEMAKER_BATCH is set, and responses are joined by lines.


_DIGITS = 300  # a column of the large body, in characters


def batch_lines(session: Session) -> str:
    """One line a record, each ended by a newline, for every content type and whatever the Accept."""
    rows = session.rows[:SAMPLE]
    expected = session.truth(server.BATCH, len(rows)).served
    for kind, accept in product(CONTENT_TYPES.values(), ("", "text/csv", "application/json")):
        answer = ok(session, server.BATCH, invocation(kind.encode(rows), kind.header, accept))
        require(answer.body.endswith(b"\n"), f"{kind.header}: answered {answer}, without a newline after the last row")
        equal(_scores(answer), expected)
    return f"{len(rows)} lines for {len(rows)} rows, equal to the booster's, in {', '.join(CONTENT_TYPES)}"


def batch_payload(session: Session) -> str:
    """MAX_CONTENT_LENGTH is what MaxPayloadInMB announces, and a body of that size passes every hop."""
    announced = execution(session, server.BATCH).get("MaxPayloadInMB")
    require(announced == server.PAYLOAD_MEGABYTES, f"MaxPayloadInMB is {announced}, not {server.PAYLOAD_MEGABYTES}")
    line = ",".join(f"{value:.{_DIGITS}f}" for value in session.rows[0]).encode()
    count = (LIMIT + 2**20) // (len(line) + 1)
    answer = ok(session, server.BATCH, invocation(b"\n".join([line] * count), "text/csv"))
    lines = len(answer.body.splitlines())
    require(lines == count, f"{lines} lines came back for {count} rows of a {LIMIT // 2**20 + 1} MiB body")
    return f"{announced} MB announced, {count} rows in {LIMIT // 2**20 + 1} MiB scored"


def _scores(answer: Answer) -> list[Row]:
    """A line is a number, or a list of them for several classes."""
    try:
        return [vector(ast.literal_eval(line)) for line in answer.text.splitlines()]
    except (ValueError, SyntaxError, TypeError) as error:
        raise Violation(f"answered {answer}, which is not one number or list a line") from error


# Checks of the feature `daal4py`: another engine, the same bytes.


def engine(session: Session) -> str:
    """XGBPATCH_ENGINE=daal4py: /ping tells that oneDAL predicts, or why the booster does; for abalone oneDAL must."""
    engine = session.server(server.DAAL4PY).ask(Request(path="/ping")).headers.get(ENGINE_HEADER, "")
    require(bool(engine), f"/ping carries no header {ENGINE_HEADER}")
    fell_back = engine.startswith("booster")
    if fell_back and (session.options.model or session.image.architecture == Architecture.ARM64.value):
        raise NotApplicable(engine)
    require(engine.startswith("daal4py"), engine)
    return engine


def engine_predictions(session: Session) -> str:
    """XGBPATCH_ENGINE=daal4py: scores exactly as the image's own xgboost, the same bytes for every content type."""
    rows = session.rows
    kinds = CONTENT_TYPES.values()
    answers = [ok(session, server.DAAL4PY, invocation(kind.encode(rows), kind.header, "text/csv")) for kind in kinds]
    for other in answers[1:]:
        differs = difference(answers[0], other)
        require(not differs, f"content types disagree: {differs}")
    return equal(csv_scores(answers[0]), session.truth(server.DAAL4PY, len(rows)).served)


def engine_bytes(session: Session) -> str:
    """XGBPATCH_ENGINE=booster and =daal4py answer the same bytes, for every content type, in CSV and JSON."""
    engine = session.server(server.BOOSTER).ask(Request(path="/ping")).headers.get(ENGINE_HEADER, "")
    require(engine.startswith("booster"), f'with XGBPATCH_ENGINE=booster /ping says "{engine}"')
    requests = [
        invocation(kind.encode(rows), kind.header, accept)
        for kind in CONTENT_TYPES.values() for accept in ("text/csv", "application/json")
        for rows in (session.rows[:1], session.rows)
    ]  # fmt: skip
    for request in requests:
        differs = difference(ok(session, server.BOOSTER, request), ok(session, server.DAAL4PY, request))
        require(not differs, f"{request}: {differs}")
    return f"{len(requests)} answers, equal byte for byte"


def lean_server(session: Session) -> str:
    """The lean server of the feature fast is there, and its log says that the model takes the short way, or why not."""
    running = session.server(server.PLAIN)
    ok(session, server.PLAIN, invocation(CONTENT_TYPES["csv"].encode(session.rows), "text/csv", "text/csv"))
    log = running.container.stdout() + running.container.stderr()
    line = re.search(r"The feature fast(?: steps aside)?[:,] (.*)", log)
    if line is None:
        raise Violation("the server's log says nothing of the feature fast: the base's own server answers")
    if not line[1].startswith("proved on"):
        if session.options.model or session.image.architecture == Architecture.ARM64.value:
            raise NotApplicable(line[1])
        raise Violation(line[1])
    return f"the short way was {line[1]}"


# One check for each fix of this server that an image carries: the base's bug is gone.


def libsvm_skew(session: Session) -> str:
    """libsvm-skew: libsvm rows whose indices begin at 1 score as the booster scores them, column 0 being absent."""
    rows = [(float("nan"), *row[1:]) for row in session.rows[:SAMPLE]]
    truth = ok(session, server.PLAIN, invocation(csv(rows), "text/csv", "text/csv"))
    from_one = (" ".join(f"{at}:{value!r}" for at, value in enumerate(row) if at) for row in rows)
    answer = ok(session, server.PLAIN, invocation("\n".join(from_one).encode(), "text/libsvm", "text/csv"))
    return equal(csv_scores(answer), csv_scores(truth))


def empty_rows(session: Session) -> str:
    """empty-rows: a libsvm row without features is scored in its place: first, in the middle, last and alone."""
    row = "0 " + " ".join(f"{at}:{value!r}" for at, value in enumerate(session.rows[0]))
    missing = "0 0:nan"  # what the base answers to a row without a value

    def scores(*lines: str) -> list[Row]:
        return csv_scores(ok(session, server.PLAIN, invocation("\n".join(lines).encode(), "text/libsvm", "text/csv")))

    equal(scores("0"), scores(missing))
    return equal(scores("", "0", row, "", row, "0"), scores(missing, missing, row, missing, row, missing))


def row_width(session: Session) -> str:
    """row-width: CSV with a column too few or too many, or with both, is a 400 that names two widths."""
    rows = session.rows[:2]
    wide, width = [(*row, 1.0) for row in rows], len(rows[0])
    bodies = {"wide": csv(wide), "ragged": csv([rows[0], wide[1]])}
    if width > 1:
        bodies["narrow"] = csv([row[:-1] for row in rows])
    for name, body in bodies.items():
        answer = session.server(server.PLAIN).ask(invocation(body, "text/csv"))
        named = f"{width - 1 if name == 'narrow' else width + 1} column" in answer.text
        require(answer.status == 400 and named and f"the model has {width}" in answer.text,
                f"{name} rows: answered {answer}, not 400 with both widths")  # fmt: skip
    return f"{', '.join(sorted(bodies))} rows are refused"


def jsonlines_accept(session: Session) -> str:
    """jsonlines-accept: `Accept: application/jsonlines` gets one `{"score": …}` a line."""
    answer = ok(session, server.PLAIN, sample(session, "application/jsonlines"))
    typed(answer, "application/jsonlines")
    return equal(json_lines_scores(answer), session.truth(server.PLAIN, SAMPLE).served)


def recordio_growth(session: Session) -> str:
    """recordio-growth: of recordio-protobuf answers of selectable inference each record holds its own keys only."""
    accept = "application/x-recordio-protobuf"
    rows = session.rows[:SAMPLE]
    many, one = (ok(session, server.SELECTABLE, invocation(csv(part), "text/csv", accept)) for part in (rows, rows[:1]))
    require(len(many.body) == len(rows) * len(one.body),
            f"{len(rows)} records take {len(many.body)} bytes, and the first alone {len(one.body)}")  # fmt: skip
    return f"{len(rows)} records, {len(many.body)} bytes"


def unlisted_objective(session: Session) -> str:
    """objectives: selectable inference gives the score of count:poisson, for which the base has no keys."""
    rows = csv(payloads.abalone_rows()[:SAMPLE])
    expected = session.truth(server.COUNTS, SAMPLE).served
    answers = [
        ok(session, server.COUNTS, invocation(rows, "text/csv", accept)) for accept in ("application/json", "text/csv")
    ]
    require(all(math.isnan(row[0]) for row in json_scores(answers[0], "raw_score")), '"raw_score" is not NaN')
    equal([row[:1] for row in csv_scores(answers[1])], expected)
    return equal(json_scores(answers[0], "predicted_score"), expected)


def ensemble_vote(session: Session) -> str:
    """ensemble-vote: models that say 0 or 1 are served as what most of them say."""
    truth = session.truth(server.VOTES, SAMPLE)
    answer = ok(session, server.VOTES, invocation(csv(payloads.abalone_rows()[:SAMPLE]), "text/csv", "text/csv"))
    equal(csv_scores(answer), truth.served)
    return f"{SAMPLE} rows, equal to the vote of {len(truth.members)} models"


def serve_exit_code(session: Session) -> str:
    """serve-exit-code: `serve` of a model that cannot be loaded does not end with 0, as if it had been asked to."""
    completed = session.ended(server.UNLOADABLE)
    require(completed.exit_code != 0, "`serve` of a file that is no model ended with exit code 0")
    return f"exit code {completed.exit_code}"


def pickle_refused(session: Session) -> str:
    """pickle-refused: a model file that is a pickle is not loaded, which would run its code, and the log says why."""
    completed = session.ended(server.UNLOADABLE)
    log = completed.stdout + completed.stderr
    require(UNPICKLED not in log, "`serve` unpickled the model file, and so ran the code in it")
    require("pickle" in log, "`serve` did not load the pickle, and its log does not say that it was one")
    return "the pickle was not loaded, and the log says why"
