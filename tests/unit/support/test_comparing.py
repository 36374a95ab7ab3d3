"""The comparison of answers finds each difference: every answer below has one thing wrong."""

import json

import pytest

from support.differential.comparing import explained_difference
from xgbpatch.contract.http import Answer

TRUTH = {"values": [[[0.5, -0.25, 1.0]], [[2.0, 0.0, 1.0]]], "margins": [[1.25], [3.0]]}
CSV = "1.0,0.5,-0.25", "1.0,2.0,0.0"
RECORDS = {"base_value": 1.0, "shap_values": [0.5, -0.25]}, {"base_value": 1.0, "shap_values": [2.0, 0.0]}


def answer(kind, body, status=200, **headers):
    return Answer(status, {"content-type": kind, "content-length": str(len(body)), **headers}, body.encode())


def lines(*rows):
    return answer("text/csv", "".join(row + "\n" for row in rows))


def document(*records):
    return answer("application/json", json.dumps({"predictions": list(records)}))


PLAIN = lines("0.7", "0.9")
GOOD = {
    "lines": (PLAIN, lines(f"0.7,{CSV[0]}", f"0.9,{CSV[1]}")),
    "within tolerance": (PLAIN, lines("0.7,1.0,0.50005,-0.25", f"0.9,{CSV[1]}")),
    "json": (
        document({"score": 0.7}, {"score": 0.9}),
        document({"score": 0.7, **RECORDS[0]}, {"score": 0.9, **RECORDS[1]}),
    ),
    "json lines": (
        answer("application/jsonlines", '{"score": 0.7}\n{"score": 0.9}\n'),
        answer(
            "application/jsonlines",
            "".join(json.dumps({"score": s, **r}) + "\n" for s, r in zip((0.7, 0.9), RECORDS, strict=True)),
        ),
    ),
    "multi-model json": (
        answer("application/json", "[0.7, 0.9]"),
        document({"score": 0.7, **RECORDS[0]}, {"score": 0.9, **RECORDS[1]}),
    ),
    "multi-model line": (answer("text/csv", "0.7,0.9"), lines(f"0.7,{CSV[0]}", f"0.9,{CSV[1]}")),
}
BAD = {
    "another prediction": lines(f"0.7000001,{CSV[0]}", f"0.9,{CSV[1]}"),
    "another contribution": lines("0.7,1.0,0.502,-0.25", f"0.9,{CSV[1]}"),
    "contributions of the other record": lines(f"0.7,{CSV[1]}", f"0.9,{CSV[0]}"),
    "base value last": lines("0.7,0.5,-0.25,1.0", f"0.9,{CSV[1]}"),
    "a record too few": lines(f"0.7,{CSV[0]}"),
    "a record too many": lines(f"0.7,{CSV[0]}", f"0.9,{CSV[1]}", f"0.9,{CSV[1]}"),
    "a value too few": lines("0.7,1.0,0.25", "0.9,1.0,2.0"),
    "nothing explained": PLAIN,
    "nan": lines("0.7,1.0,nan,-0.25", f"0.9,{CSV[1]}"),
    "no last newline": answer("text/csv", f"0.7,{CSV[0]}\n0.9,{CSV[1]}"),
    "another status": answer("text/csv", "no", status=500),
    "another type": answer("text/plain", f"0.7,{CSV[0]}\n0.9,{CSV[1]}\n"),
    "a header more": answer("text/csv", f"0.7,{CSV[0]}\n0.9,{CSV[1]}\n", server="other"),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_right_passes(name):
    assert explained_difference(*GOOD[name], TRUTH) == ""


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_shows(name):
    assert explained_difference(PLAIN, BAD[name], TRUTH)


def test_json_with_another_score_shows():
    base, ours = GOOD["json"]
    assert explained_difference(base, Answer(200, ours.headers, ours.body.replace(b"0.7", b"0.71")), TRUTH)


def test_misread_records_must_be_refused_with_both_widths():
    refused = answer("text/plain", "the records have 2 columns, the model has 3", status=400)
    assert explained_difference(PLAIN, refused, {"misread": True}) == ""
    for other in (PLAIN, GOOD["lines"][1], answer("text/plain", "bad option", status=400)):
        assert explained_difference(PLAIN, other, {"misread": True})
