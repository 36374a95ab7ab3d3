"""The single-model server of a base holds to its contract, over real HTTP."""

from __future__ import annotations

import csv
import functools
import io
import json
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import requests

from support.standin.base_process import BaseProcess
from support.standin.served_base import Endpoint, Zoo, run_of, served
from xgbpatch.contract import payloads
from xgbpatch.engine.client import Engine

Serve = Callable[..., Endpoint]
CSV = "0.1,0.2,0.3,0.4\n0.9,0.8,0.7,0.6\n0.5,0.1,0.9,0.2"
LIBSVM = "1 0:0.1 1:0.2 2:0.3 3:0.4\n0 0:0.9 1:0.8 2:0.7 3:0.6\n1 0:0.5 1:0.1 2:0.9 3:0.2"
RECORDIO = payloads.recordio([[float(cell) for cell in row.split(",")] for row in CSV.split("\n")])
ALL_KEYS = ["predicted_label", "labels", "probability", "probabilities", "raw_score", "raw_scores"]
KNOWN_TYPES = (
    "csv, libsvm, parquet, recordio-protobuf, text/csv, text/libsvm, text/x-libsvm, application/x-parquet, "
    "application/x-recordio-protobuf"
)
KNOWN_ACCEPTS = "['application/json', 'application/jsonlines', 'application/x-recordio-protobuf', 'text/csv']"


@pytest.fixture(scope="module")
def serve(engine: Engine, image: str, zoo: Zoo) -> Iterator[Serve]:
    """(model, **environment) → its endpoint; one container an environment, kept for the module."""
    with ExitStack() as stack:
        started: dict[str, Endpoint] = {}

        def start(model: str, **environment: str) -> Endpoint:
            key = json.dumps([model, environment])
            if key not in started:
                run = run_of(image, zoo.folder / model, environment)
                started[key] = stack.enter_context(served(engine, run))
            return started[key]

        yield start


@pytest.fixture(scope="module")
def application(process: BaseProcess, zoo: Zoo) -> Serve:
    """(model, **environment) → the application alone, without nginx: what answers of predictions are made of."""

    @functools.cache
    def start(model: str, **environment: str) -> Endpoint:
        return process.serve(zoo.folder / model, environment)

    return start


@pytest.fixture(scope="module")
def logistic(serve: Serve) -> Endpoint:
    """One binary model, behind a limit of 1 MiB."""
    return serve("logistic", MAX_CONTENT_LENGTH="1048576")


@pytest.fixture(scope="module")
def poisson(application: Serve) -> Endpoint:
    """A pickled model whose objective has no selectable output."""
    return application("pickled-poisson", SAGEMAKER_INFERENCE_OUTPUT="predicted_score")


def lines(scores: list[float]) -> str:
    return "".join(f"{score}\n" for score in scores)


def one_based(version: str) -> str:
    """The matrix that "1:… 3:…" means: 3.2-0 moves indices down when none is 0."""
    return "even" if version == "3.2-0" else "odd"


@pytest.mark.parametrize(
    ("content_type", "body", "matrix"),
    [
        pytest.param("text/csv", CSV, "rows", id="csv"),
        pytest.param("csv", CSV + "\n", "rows", id="csv-short-name-newline"),
        pytest.param("TEXT/CSV; charset=utf-8", CSV, "rows", id="csv-upper-case-parameter"),
        pytest.param("text/csv; label_size=1", CSV, "rows", id="csv-label-size-1"),
        pytest.param("text/csv", CSV.replace("\n", "\r\n"), "rows", id="csv-crlf"),
        pytest.param("text/csv", CSV.replace(",", ";"), "rows", id="csv-semicolon"),
        pytest.param("text/csv", CSV.replace(",", "\t"), "rows", id="csv-tab"),
        pytest.param("text/csv", "11|22|33|44\n5|6|7|8", "whole", id="csv-pipe"),
        pytest.param("text/csv", CSV.replace(",", " "), "rows", id="csv-space"),
        pytest.param("text/csv", "0.1,,0.3,0.4\n,,,\n,,,0.4", "holes", id="csv-empty-cell-is-missing"),
        pytest.param("text/csv", "0.1,0.2,0.3", "narrow", id="csv-narrow"),
        pytest.param("text/libsvm", LIBSVM, "rows", id="libsvm"),
        pytest.param("text/x-libsvm; a=b", LIBSVM, "rows", id="x-libsvm-parameter"),
        pytest.param("libsvm", "0:0.1 2:0.3 3:0.4\n\n1 3:0.4", "holes", id="libsvm-blank-line-is-missing"),
        pytest.param("text/libsvm", "1:0.9 3:0.8", "one-based", id="libsvm-without-column-0"),
        pytest.param("", LIBSVM, "rows", id="no-content-type-is-libsvm"),
        pytest.param("application/x-recordio-protobuf", RECORDIO, "rows", id="recordio"),
        pytest.param("recordio-protobuf", RECORDIO, "rows", id="recordio-short-name"),
    ],
)
def test_input_is_read_as_its_type(logistic, zoo, version, content_type, body, matrix):
    headers = {"content_type": content_type} if content_type else {}
    answer = logistic.invoke(body, **headers)
    expected = zoo.scores("logistic", one_based(version) if matrix == "one-based" else matrix)
    assert (answer.status_code, answer.text) == (200, lines(expected))
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"


@pytest.mark.parametrize(
    ("content_type", "body", "status", "text"),
    [
        pytest.param("text/csv", "", 204, "", id="empty"),
        pytest.param("application/x-www-form-urlencoded", "0.1,0.2", 204, "", id="form"),
        pytest.param(
            "text/plain", CSV, 415, f"text/plain is not an accepted ContentType: {KNOWN_TYPES}.", id="unknown-type"
        ),
        pytest.param("application/json", "[1]", 415, "application/json is not an accepted ContentType", id="json"),
        pytest.param(
            "application/x-parquet", "x", 415, "Content-type application/x-parquet is not supported.", id="parquet"
        ),
        pytest.param(
            "text/csv; label_size=2",
            CSV,
            415,
            "is not an accepted csv ContentType. Optional parameter label_size must be equal to 1",
            id="label-size-2",
        ),
        pytest.param(
            "text/csv",
            "a,b,c,d\n" + CSV,
            415,
            "Loading csv data failed with Exception, please ensure data is in csv format:\n <class 'ValueError'>\n ",
            id="csv-header",
        ),
        pytest.param("text/csv", "1,2,3,4\n\n1,2,3,4", 415, "Loading csv data failed", id="csv-blank-line"),
        pytest.param("text/csv", "1,2,3,4\n1,2", 415, "Loading csv data failed", id="csv-ragged"),
        pytest.param("text/csv", LIBSVM, 415, "Loading csv data failed", id="libsvm-as-csv"),
        pytest.param(
            "text/libsvm",
            CSV,
            415,
            "Loading libsvm data failed with Exception, please ensure data is in libsvm format:\n ",
            id="csv-as-libsvm",
        ),
        pytest.param("text/libsvm", "0:a", 415, "Loading libsvm data failed", id="libsvm-text"),
        pytest.param(
            "recordio-protobuf",
            "junkjunk",
            415,
            "Loading recordio-protobuf data failed with Exception, please ensure data is in recordio-protobuf format: ",
            id="recordio-junk",
        ),
        pytest.param("text/csv", "1,2,3,4,5", 400, "Unable to evaluate payload provided: ", id="csv-wide"),
        pytest.param(
            "text/libsvm",
            "0:1 9:1",
            400,
            "Number of columns does not match number of features in booster.",
            id="libsvm-wide",
        ),
    ],
)
def test_refused_input_has_its_status(logistic, content_type, body, status, text):
    answer = logistic.invoke(body, content_type=content_type)
    assert answer.status_code == status
    assert text in answer.text if text else answer.content == b""


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        pytest.param(
            "text/csv",
            "1,2,3,4,5",
            "Feature size of csv inference data 5 is not consistent with feature size of trained model 4.",
            id="csv-wide",
        ),
        pytest.param(
            "text/csv",
            "1,2",
            "Feature size of csv inference data 2 is not consistent with feature size of trained model 4.",
            id="csv-two-short",
        ),
        pytest.param(
            "text/libsvm", "0:1 5:1", "Feature size of libsvm inference data 6 is larger than ", id="libsvm-wide"
        ),
    ],
)
def test_pickled_models_check_the_width(poisson, content_type, body, text):
    answer = poisson.invoke(body, content_type=content_type)
    assert answer.status_code == 400
    assert answer.text.startswith(f"Unable to evaluate payload provided: {text}")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        pytest.param("text/csv", CSV, id="csv"),
        pytest.param("text/csv", "1,2,3", id="csv-one-short"),
        pytest.param("text/libsvm", "0:1", id="libsvm-short"),
    ],
)
def test_selection_of_an_unsupported_objective_is_500_after_the_prediction(poisson, content_type, body):
    answer = poisson.invoke(body, content_type=content_type)
    expected = "Objective `count:poisson` unsupported for selectable inference predictions."
    assert (answer.status_code, answer.text) == (500, expected)


def test_a_body_over_the_limit_is_413(logistic):
    assert logistic.settled("1" * 1048577, content_type="text/csv") == 413


@pytest.mark.parametrize("accept", ["text/csv", "TEXT/CSV", "text/csv;x=1", "*/*", ""])
def test_csv_is_a_row_a_record(logistic, zoo, accept):
    headers = {"accept": accept} if accept else {}
    answer = logistic.invoke(CSV, content_type="text/csv", **headers)
    assert (answer.status_code, answer.text) == (200, lines(zoo.scores("logistic", "rows")))


def test_json_is_a_list_of_scores(logistic, zoo):
    answer = logistic.invoke(CSV, content_type="text/csv", accept="application/json; a=b")
    expected = {"predictions": [{"score": score} for score in zoo.scores("logistic", "rows")]}
    assert (answer.status_code, answer.text) == (200, json.dumps(expected))
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("accept", ["text/plain", "text/csv, application/json", "application/*"])
def test_other_accepts_are_406_after_the_prediction(logistic, accept):
    answer = logistic.invoke(CSV, content_type="text/csv", accept=accept)
    expected = f"Accept type {accept} is not supported. Please use supported accept types: {KNOWN_ACCEPTS}."
    assert (answer.status_code, answer.text) == (406, expected)
    assert logistic.invoke("1,2,3,4,5", content_type="text/csv", accept=accept).status_code == 400


@pytest.mark.parametrize("accept", ["application/jsonlines", "application/x-recordio-protobuf"])
def test_accepts_without_an_encoder_are_500(logistic, accept):
    answer = logistic.invoke(CSV, content_type="text/csv", accept=accept)
    assert (answer.status_code, "Internal Server Error" in answer.text) == (500, True)


def test_routes(logistic):
    ping = logistic.request("GET", "/ping")
    assert (ping.status_code, ping.content) == (200, b"")
    assert "nginx" in ping.headers["Server"]
    assert logistic.request("GET", "/invocations").status_code == 405
    assert logistic.request("GET", "/models").text == "{}"
    assert logistic.request("GET", "/elsewhere").status_code == 404


def test_execution_parameters_have_the_limit_which_is_6_mb_by_default(logistic, application):
    for endpoint, megabytes in ((logistic, 1), (application("ensemble"), 6)):
        parameters = endpoint.request("GET", "/execution-parameters").json()
        assert parameters.pop("MaxConcurrentTransforms") >= 1
        assert parameters == {"BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": megabytes}


def softprob_selection(scores: list[float]) -> dict[str, object]:
    best = max(scores)
    return {
        "predicted_label": scores.index(best),
        "labels": [0, 1, 2],
        "probability": best,
        "probabilities": scores,
        "raw_score": best,
        "raw_scores": scores,
    }


def selected(application: Serve, accept: str) -> requests.Response:
    endpoint = application("softprob", SAGEMAKER_INFERENCE_OUTPUT=" Probabilities ," + ",".join(ALL_KEYS) + ",foo")
    return endpoint.invoke(CSV, content_type="text/csv", accept=accept)


@pytest.mark.parametrize("accept", ["application/json", "application/jsonlines"])
def test_selected_output_as_json(application, zoo, accept):
    answer = selected(application, accept)
    rows = [json.loads(line) for line in answer.text.splitlines()]
    records = rows[0]["predictions"] if accept == "application/json" else rows
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, accept)
    assert all(math.isnan(row.pop("foo")) for row in records)
    assert records == [softprob_selection(scores) for scores in zoo.scores("softprob", "rows")]


def test_selected_output_as_csv_has_the_keys_in_request_order_and_no_last_newline(application, zoo):
    answer = selected(application, "text/csv")
    expected = [softprob_selection(scores) for scores in zoo.scores("softprob", "rows")]
    rows = [[str(row[key]) for key in ["probabilities", *ALL_KEYS]] + ["nan"] for row in expected]
    assert list(csv.reader(io.StringIO(answer.text))) == rows
    assert not answer.text.endswith("\n")


def test_selected_output_as_recordio_is_a_record_a_row_that_grows(application):
    answer = selected(application, "application/x-recordio-protobuf")
    first, second = (int.from_bytes(answer.content[at : at + 4], "little") for at in (4, 0))
    assert second == 0xCED7230A
    assert payloads.recordio_count(answer.content) == 3
    assert len(answer.content) > 5 * first


def test_batch_prints_a_record_a_line_whatever_the_accept(application, zoo):
    environment = {"SAGEMAKER_BATCH": "false", "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "application/json"}
    endpoint = application("softprob", **environment)
    answers = [endpoint.invoke(CSV, content_type="text/csv", **accept) for accept in ({}, {"accept": "text/csv"})]
    assert [answer.text for answer in answers] == [lines(zoo.scores("softprob", "rows"))] * 2
    assert [answer.headers["Content-Type"] for answer in answers] == ["application/json", "text/csv; charset=utf-8"]


def test_batch_of_selected_votes_ends_with_a_newline_and_has_float_labels(application, zoo, version):
    keys = {"SAGEMAKER_INFERENCE_OUTPUT": "predicted_label,raw_scores,probability"}
    answer = application("votes", SAGEMAKER_BATCH="true", **keys).invoke(CSV, content_type="text/csv")
    if version in ("3.0-5", "3.2-0"):  # scipy's mode lost the axis that the image counts on
        assert (answer.status_code, answer.text) == (500, "'numpy.float64' object is not iterable")
        return
    ballots = zip(*(member["rows"] for member in zoo.expected["votes"]), strict=True)
    majority = [min(set(ballot), key=lambda label: (-ballot.count(label), label)) for ballot in ballots]
    expected = "".join(f'{label},"[{1 - label}, {label}]",nan\n' for label in majority)
    assert (answer.status_code, answer.text) == (200, expected)


def test_an_ensemble_answers_the_mean_and_skips_folders_and_dotfiles(application, zoo):
    answer = application("ensemble").invoke(CSV, content_type="text/csv")
    members = [member["rows"] for member in zoo.expected["ensemble"]]
    assert answer.status_code == 200
    assert members[0] != members[1]
    predictions = [float(line) for line in answer.text.splitlines()]
    assert predictions == pytest.approx([sum(scores) / 2 for scores in zip(*members, strict=True)], abs=1e-6)


def test_an_ensemble_is_one_of_its_members_unless_the_setting_is_exactly_true(application, zoo):
    answer = application("ensemble", SAGEMAKER_INFERENCE_ENSEMBLE="True").invoke(CSV, content_type="text/csv")
    assert answer.text in [lines(member["rows"]) for member in zoo.expected["ensemble"]]


def test_a_file_that_is_no_model_ends_the_server_with_0(engine, image, zoo):
    with engine.container(run_of(image, zoo.folder / "junk", {})) as container:
        assert container.wait(120) == 0
        assert "Worker failed to boot" in container.stdout() + container.stderr()


INFERENCE = """
import glob, xgboost

def model_fn(model_dir):
    booster = xgboost.Booster()
    booster.load_model(glob.glob(model_dir + "/model-*")[0])
    return booster
"""


@pytest.fixture(scope="module")
def script(serve: Serve, zoo: Zoo) -> Endpoint:
    """The user's module: model_fn only."""
    code = zoo.folder / "script" / "code"
    code.mkdir(exist_ok=True)
    (code / "inference.py").write_text(INFERENCE)
    program = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
    return serve("script", **program)


def test_script_mode_answers_with_the_toolkits_encoders(script, zoo):
    scores = zoo.scores("script", "rows")
    as_json = script.invoke(CSV, content_type="text/csv", accept="application/json")
    as_csv = script.invoke(LIBSVM, content_type="text/libsvm", accept="text/csv")
    assert (as_json.status_code, as_json.json()) == (200, scores)
    assert as_csv.status_code == 200
    assert [float(line) for line in as_csv.text.splitlines()] == pytest.approx(scores, rel=1e-6)


@pytest.mark.parametrize(("content_type", "accept"), [("text/csv", "text/plain"), ("text/plain", "text/csv")])
def test_script_mode_answers_500_to_types_it_does_not_know(script, content_type, accept):
    assert script.invoke(CSV, content_type=content_type, accept=accept).status_code == 500


def test_script_mode_has_no_execution_parameters(script):
    assert script.request("GET", "/execution-parameters").status_code == 404
