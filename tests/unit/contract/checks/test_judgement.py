"""What the checks of features hold an answer to: each small mistake in it is found, on answers made by hand."""

import json
import struct

import pytest

from xgbpatch.contract import oracle, payloads
from xgbpatch.contract.checks import shap
from xgbpatch.contract.checks.against_base import changed_by
from xgbpatch.contract.checks.train import printed_metric
from xgbpatch.contract.http import Answer, Request, invocation
from xgbpatch.contract.jobs import Trained
from xgbpatch.contract.model import Carried, Violation
from xgbpatch.contract.oracle import Description, ExplainedRecord, Truth
from xgbpatch.contract.server import BATCH, MULTI_MODEL, PLAIN, SELECTED

VALUES = (0.5, -2.0, 0.25)
BASE = 10.0
TRUTH = Truth(
    Description(3, "reg:squarederror", "gbtree"), members=(((8.75,),),), served=((8.75,),), margins=((8.75,),),
    contributions=((*VALUES, BASE),), approximations=((0.25, -1.75, 0.25, BASE),),
)  # fmt: skip


def answer(values=VALUES, base=BASE, score=8.75):
    record = {"score": score, "base_value": base, "shap_values": list(values)}
    return Answer(200, {}, json.dumps({"predictions": [record]}).encode())


def test_right_values_pass():
    assert "equal to xgboost's own" in shap.hold_records(answer(), TRUTH)
    assert shap.hold_lines(Answer(200, {}, b"8.75,10.0,0.5,-2.0,0.25\n"), TRUTH)
    assert shap.hold_records(answer((0.25, -1.75, 0.25)), TRUTH, approximate=True)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (answer((-2.0, 0.5, 0.25)), "SHAP values, base value last, are -2 at 1, and the booster says 0.5"),
        (answer((0.51, -2.0, 0.25)), "sum to 8.76 at 1, and the booster says 8.75"),
        (answer(base=10.01), "sum to 8.76"),
        (answer(score=8.7500001), "scores 8.7500001"),
        (answer(VALUES[:2], base=10.25), "are 3 numbers, and the booster says 4"),
        (answer((0.5, -2.0, float("nan"))), "sum to nan"),
        (Answer(200, {}, b'{"predictions": [{"score": 8.75}]}'), "missing or misshapen"),
    ],
    ids=["two in each other's place", "one off by a little", "base value", "prediction", "one too few", "NaN", "none"],
)
def test_a_wrong_explanation_is_found(wrong, message):
    with pytest.raises(Violation, match=message.replace(".", r"\.").replace("-", r"\-")):
        shap.hold_records(wrong, TRUTH)


@pytest.mark.parametrize(
    "body", [b"8.75,10.0,0.5,-2.0,0.25", b"8.75,10.0,0.5,-2.0\n", b"10.0,0.5,-2.0,0.25\n"],
    ids=["no newline", "a value short", "no prediction"],
)  # fmt: skip
def test_a_wrong_line_is_found(body):
    with pytest.raises(Violation):
        shap.hold_lines(Answer(200, {}, body), TRUTH)


def test_classes_are_read_alike_from_lines_and_records():
    cells = (1.0, 0.1, 0.2, 2.0, 0.3, 0.4)
    record = {"base_value": [1.0, 2.0], "shap_values": [[0.1, 0.2], [0.3, 0.4]]}
    assert oracle.of_cells(cells, 2) == oracle.of_record(record)
    assert ExplainedRecord((1.0,), ((0.25, 0.5),)).sums == (1.75,)


@pytest.mark.parametrize(
    "matrix",
    [
        [[0.5, 0.2, 0.0], [0.1, -2.0, 0.0], [0.0, 0.0, 10.0]],
        [[0.5, 0.0, 0.0], [0.0, -1.9, 0.0], [0.0, 0.0, 10.0]],
        [[0.5, 0.0], [0.0, -2.0]],
        None,
    ],
    ids=["skew", "sums", "narrow", "absent"],
)
def test_wrong_interactions_are_found(matrix):
    with pytest.raises(Violation):
        shap.hold_interactions(matrix, (0.5, -2.0, 10.0))
    shap.hold_interactions([[0.4, 0.1, 0.0], [0.1, -2.1, 0.0], [0.0, 0.0, 10.0]], (0.5, -2.0, 10.0))


def test_the_strongest_are_ordered_by_their_size():
    assert shap.hold_strongest([[-2.0, 0.5, 0.25]], TRUTH)
    for wrong in ([0.5, -2.0, 0.25], [-2.0, 0.5], [2.0, 0.5, 0.3]):
        with pytest.raises(Violation):
            shap.hold_strongest([wrong], TRUTH)


def test_tensors_of_recordio_are_read_by_key_and_broken_framing_is_an_error():
    def field(number, content):
        return bytes([number << 3 | 2, len(content)]) + content

    tensor = field(2, field(1, struct.pack("<2f", 1.5, -2.0)))
    payload = field(2, field(1, b"shap_values") + field(2, tensor))
    record = struct.pack("<II", 0xCED7230A, len(payload)) + payload + b"\0" * (-len(payload) % 4)
    assert payloads.recordio_labels(record * 2) == [{"shap_values": (1.5, -2.0)}] * 2
    for broken in (record[:-1], b"junk" + record, record + b"\0"):
        with pytest.raises(ValueError, match=r"byte|record"):
            payloads.recordio_labels(broken)


def test_the_array_file_is_numpys():
    import io

    import numpy as np

    rows = [[1.5, float("nan"), -3.0], [0.0, 2.0, 4.0]]
    content = payloads.npy_float32(rows)
    np.testing.assert_array_equal(np.load(io.BytesIO(content)), np.array(rows, dtype=np.float32))
    assert payloads.npy_shape(content) == (2, 3)
    for other in (content[:-1], b"junk"):
        with pytest.raises(ValueError, match=r"bytes|not an array"):
            payloads.npy_shape(other)


def test_metrics_are_read_as_cloudwatch_shows_them(tmp_path):
    stdout = "[0]\ttrain-rmse:2.70\tvalidation-rmse:2.89\n[1]\ttrain-rmse:2.50\tvalidation-rmse:2.60\nother\n"
    outcome = Trained(0, stdout, "", tmp_path)
    assert printed_metric(outcome, "train", "rmse") == [2.7, 2.5]
    assert printed_metric(outcome, "validation", "rmse") == [2.89, 2.6]
    with pytest.raises(Violation, match="0 lines"):
        printed_metric(outcome, "validation", "mae")


LIBSVM, JSON_LINES, RECORDIO = "text/libsvm", "application/jsonlines", "application/x-recordio-protobuf"
UNKNOWN = Answer(500, {}, b"Objective `count:poisson` unsupported for selectable inference predictions.")
OK, UNREAD, FAILED, UNAVAILABLE = (Answer(status, {}, b"") for status in (200, 415, 500, 503))


@pytest.mark.parametrize(
    ("name", "stack", "request_", "base", "allowed"),
    [
        ("libsvm-skew", PLAIN, invocation(b"0 1:2 2:0.5", LIBSVM), OK, True),
        ("libsvm-skew", PLAIN, invocation(b"0 1:2 2:0.5"), OK, True),
        ("libsvm-skew", PLAIN, invocation(b"0 0:2 2:0.5", LIBSVM), OK, False),
        ("libsvm-skew", PLAIN, invocation(b"junk:not numbers", LIBSVM), OK, False),
        ("libsvm-skew", PLAIN, invocation(b"1,2", "text/csv"), OK, False),
        ("libsvm-skew", PLAIN, Request(path="/ping"), OK, False),
        ("empty-rows", PLAIN, invocation(b"0\n1 0:2", LIBSVM), OK, True),
        ("empty-rows", PLAIN, invocation(b"1,2"), OK, True),
        ("empty-rows", PLAIN, invocation(b"1 0:2\n", LIBSVM), OK, False),
        ("empty-rows", PLAIN, invocation(b"1,2", "text/csv"), OK, False),
        ("row-width", PLAIN, invocation(b"1,2,3\n1,2,3\n", "text/csv"), OK, True),
        ("row-width", PLAIN, invocation(b"1;2\n1", "text/csv; label_size=1"), FAILED, True),
        ("row-width", PLAIN, invocation(b"1,\n1\t2\n", "text/csv"), OK, False),
        ("row-width", PLAIN, invocation(b"0 0:1", LIBSVM), OK, False),
        ("row-width", PLAIN, invocation(b"", "text/csv"), OK, False),
        ("jsonlines-accept", PLAIN, invocation(b"1", "text/csv", JSON_LINES), FAILED, True),
        ("jsonlines-accept", PLAIN, invocation(b"1", "text/csv", RECORDIO), FAILED, True),
        ("jsonlines-accept", PLAIN, invocation(b"1", "text/csv", JSON_LINES), OK, False),
        ("jsonlines-accept", PLAIN, invocation(b"1", "text/csv", "application/json"), FAILED, False),
        ("recordio-growth", SELECTED, invocation(b"1", "text/csv", RECORDIO), OK, True),
        ("recordio-growth", PLAIN, invocation(b"1", "text/csv", RECORDIO), OK, False),
        ("recordio-growth", SELECTED, invocation(b"1", "text/csv", JSON_LINES), OK, False),
        ("objectives", SELECTED, invocation(b"1", "text/csv"), UNKNOWN, True),
        ("objectives", SELECTED, invocation(b"1", "text/csv"), FAILED, False),
        ("objectives", PLAIN, invocation(b"1", "text/csv"), UNKNOWN, False),
        ("mme-errors", MULTI_MODEL, invocation(b"junk", "text/csv"), UNAVAILABLE, True),
        ("mme-errors", MULTI_MODEL, invocation(b"1", "text/csv"), OK, False),
        ("mme-errors", BATCH, invocation(b"junk", "text/csv"), UNAVAILABLE, False),
        ("pickle-refused", PLAIN, invocation(b"1", "text/csv"), OK, False),
        ("json-input", PLAIN, invocation(b"[1]", "Application/JSON; a=b"), UNREAD, True),
        ("json-input", MULTI_MODEL, invocation(b"1", JSON_LINES), UNAVAILABLE, True),
        ("json-input", PLAIN, invocation(b"1", JSON_LINES), OK, False),
        ("json-input", PLAIN, invocation(b"1", "text/csv", JSON_LINES), UNREAD, False),
    ],
    ids=str,
)
def test_a_fix_or_feature_may_change_the_answers_that_it_concerns_and_no_other(name, stack, request_, base, allowed):
    assert changed_by([name, "custom-metrics"], stack, request_, base, 2) == (name if allowed else "")
    assert changed_by(["custom-metrics"], stack, request_, base, 2) == ""


def test_a_check_says_which_feature_or_fix_an_image_lacks():
    carried = Carried(frozenset({"shap"}), frozenset({"ensemble-vote"}))
    assert carried.missing("", "") == carried.missing("shap", "ensemble-vote") == ""
    assert carried.missing("daal4py", "") == 'the image was built without the feature "daal4py"'
    assert carried.missing("shap", "libsvm-skew") == 'the image was built without the fix "libsvm-skew"'
