"""The feature json-input: JSON bodies get the answers, byte for byte, that their rows get as CSV."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from sagemaker_xgboost_container.algorithm_mode import serve
from xgbpatch_overlays import json_input

from support.overlays import zoo

JSON, LINES = "application/json", "application/jsonlines"
ON = {"XGBPATCH_FEATURES": "json-input"}
ALL = {"XGBPATCH_FEATURES": "json-input,shap,daal4py"}
ROWS = [[0.1, None, -2.5e-7, 3, 1e21, 0.0], [1.5, 2, 3, 4, 5, 6.25]]
NAMES = ["length", "height", "weight of \u00fc", "a b", "features", "data"]
LENGTH = {"length": 0.1, "data": 6}
FORMS = {
    "lists": (JSON, json.dumps(ROWS)),
    "instances": (JSON, json.dumps({"instances": ROWS})),
    "instances of features": (JSON, json.dumps({"instances": [{"features": row} for row in ROWS]}, indent=1)),
    "instances of data": (JSON, json.dumps([{"data": {"features": {"values": row}}} for row in ROWS])),
    "NaN and other spellings": (
        'Application/JSON; Charset="UTF-8"',
        "\ufeff\r\n[ [1e-1,NaN ,-25E-8,3.0,1000000000000000000000,-0],\t"
        '{"features":[1.5,2,3.0000000000000001,4,5,625e-2]}] ',
    ),
    "lines": (LINES, "\n".join(map(json.dumps, ROWS))),
    "lines of features": (LINES + ";charset=utf-8", "".join(json.dumps({"features": row}) + "\r\n" for row in ROWS)),
    "a line of lists": (LINES, json.dumps(ROWS) + "\n\n"),
    "mixed lines": (LINES, json.dumps(ROWS[0]) + "\n" + json.dumps({"instances": ROWS[1:]})),
}
ONE = {
    "a list": (JSON, json.dumps(ROWS[0])),
    "features": (JSON, json.dumps({"features": ROWS[0]})),
    "a line": (LINES, json.dumps(ROWS[0])),
}
ACCEPTS = ("text/csv", JSON, LINES, "", "image/png")  # recordio-protobuf writes several keys in random order


def csv(rows):
    return "\n".join(",".join("" if cell is None else repr(cell) for cell in row) for row in rows)


def answer(response):
    return response.status_code, response.data, sorted(response.headers.items())


def write_names(names, folder=None):
    beside = Path(folder or serve.ScoringService.MODEL_PATH, "xgbpatch")
    beside.mkdir(exist_ok=True)
    (beside / "feature_names.json").write_text(json.dumps(names))


@pytest.mark.parametrize(
    ("models", "environment"),
    [
        (["softprob"], ON),
        (["binary", "binary-base-score"], ON),
        (["pickled"], ON),
        (["regression"], dict(ALL, XGBPATCH_SHAP_LAYOUT="append", XGBPATCH_ENGINE="daal4py")),
        (["softprob"], dict(ALL, SAGEMAKER_INFERENCE_OUTPUT="predicted_label,probabilities,shap_top_k")),
        (["softprob"], dict(ON, SAGEMAKER_BATCH="true")),
    ],
    ids=["one model", "ensemble", "pickle", "SHAP values and the engine", "selected keys", "batch transform"],
)
def test_every_form_gets_the_answer_of_its_rows_as_csv(server, models, environment):
    features = environment["XGBPATCH_FEATURES"].replace("json-input", "").strip(",")
    base = server(*models, **dict(environment, XGBPATCH_FEATURES=features))
    expected = {accept: answer(base.post(csv(ROWS), accept=accept)) for accept in ACCEPTS}
    alone = answer(base.post(csv(ROWS[:1])))
    assert expected["text/csv"][0] == 200
    assert expected["image/png"][0] == 406
    endpoint = server(*models, **environment)
    for form, (kind, body) in FORMS.items():
        for accept in ACCEPTS:
            assert answer(endpoint.post(body.encode(), accept, kind)) == expected[accept], (form, accept)
    for form, (kind, body) in ONE.items():
        assert answer(endpoint.post(body, "text/csv", kind)) == alone, form


ADVICE = "send one value a column, or null"
EMPTY = [(JSON, ""), (JSON, "[]"), (JSON, ' {"instances" : [ ]}\n'), (LINES, ""), (LINES, "\n\n")]


@pytest.mark.parametrize(("kind", "body"), EMPTY)
def test_no_record_is_an_empty_body(server, kind, body):
    expected = answer(server("binary").post(""))
    assert expected[0] == 204
    assert answer(server("binary", **ON).post(body, content_type=kind)) == expected


def test_off_a_json_body_gets_the_bases_answer(server):
    requests = [(body, kind) for kind, body in [*FORMS.values(), *EMPTY]]
    expected = [answer(server("binary").post(body.encode(), content_type=kind)) for body, kind in requests]
    endpoint = server("binary", XGBPATCH_FEATURES="shap,daal4py,training")
    assert [answer(endpoint.post(body.encode(), content_type=kind)) for body, kind in requests] == expected
    assert {status for status, _, _ in expected} == {204, 415}


@pytest.mark.parametrize("kind", ["text/csv", "text/libsvm", "application/x-unknown", "application/json-seq", None])
def test_on_every_other_type_gets_the_bases_answer(server, kind):
    bodies = [csv(ROWS), "[[1,2,3,4,5,6]]", "0:1 1:2", ""]
    expected = [answer(server("binary").post(body, content_type=kind)) for body in bodies]
    endpoint = server("binary", **ON)
    assert [answer(endpoint.post(body, content_type=kind)) for body in bodies] == expected


# Objects by name.


def test_objects_by_name_are_put_in_the_models_order(server):
    rows = [[0.5, None, 1, 2, None, 3], [None] * 6, [1, 2, 3, 4, 5, 6]]
    objects = [{NAMES[5]: 3, NAMES[0]: 0.5, NAMES[3]: 2, NAMES[2]: 1, NAMES[4]: None}, {}, dict(zip(NAMES, rows[2]))]
    endpoint = server("softprob", **dict(ALL, XGBPATCH_SHAP_LAYOUT="append", XGBPATCH_SHAP_TOP_K="2"))
    write_names(NAMES)
    expected = answer(endpoint.post(csv(rows)))
    assert (expected[0], b"length=" in expected[1]) == (200, True)
    lines = "\n".join(map(json.dumps, objects))
    for kind, body in ((JSON, json.dumps(objects)), (JSON, json.dumps({"instances": objects})), (LINES, lines)):
        assert answer(endpoint.post(body, content_type=kind)) == expected
    alone = answer(endpoint.post(csv(rows[:1])))
    assert answer(endpoint.post(json.dumps(objects[0]), content_type=JSON)) == alone
    mixed = json.dumps([objects[0], {"features": rows[1]}, rows[2]], ensure_ascii=False).encode()
    assert answer(endpoint.post(mixed, content_type=JSON)) == expected


def test_the_models_own_names_are_taken(server, specimen):
    endpoint = server(specimen("named-pickled"), **ON)
    names = serve.ScoringService.booster.feature_names
    body = json.dumps(dict(reversed(list(zip(names, ROWS[1])))))
    assert endpoint.post(body, content_type=JSON).data == endpoint.post(csv(ROWS[1:])).data
    assert names[0] != "f0"


def test_members_that_are_named_differently_are_asked_by_position_alone(server, specimen):
    endpoint = server(specimen("named-pickled"), "binary", **ON)
    refusal = endpoint.post('{"feature a": 1}', content_type=JSON)
    assert (refusal.status_code, b"send lists of 6 numbers" in refusal.data) == (400, True)
    assert endpoint.post(json.dumps(ROWS), content_type=JSON).status_code == 200


# Refusals.


NAMED, UNNAMED = True, False
GOOD = "[1,2,3,4,5,6]"
UNENDED = "Record 1 is the last, and the body does not end as it should (character "
REFUSED = [
    (JSON, "[[1,2,3,4,5,6],[1,2,3,4,5]]", "Record 2 has 5 columns, the model has 6: " + ADVICE),
    (JSON, "[[1,2,3,4,5,6,7]]", "Record 1 has 7 columns, the model has 6: " + ADVICE),
    (JSON, "[1]", "Record 1 has 1 column, the model has 6: " + ADVICE),
    (JSON, "[[]]", "Record 1 has 0 columns, the model has 6: " + ADVICE),
    (JSON, '{"features": []}', "Record 1 has 0 columns, the model has 6: " + ADVICE),
    (LINES, GOOD + '\n{"features":[1]}', "Record 2 has 1 column, the model has 6: " + ADVICE),
    (LINES, GOOD + "\n[]", "Record 2: its line has no values"),
    (LINES, GOOD + '\n{"instances":[]}', "Record 2: its line has no values"),
    (LINES, GOOD + "\n\n" + GOOD, "Record 2: its line has no values"),
    (LINES, "[1,2\n,3,4,5,6]", "Record 1, field 2 is not JSON: "),
    (LINES, GOOD + GOOD, UNENDED + '14: "[1,2,3,4,5,6]")'),
    (JSON, GOOD + "\n" + GOOD, UNENDED + "14: "),
    (JSON, '{"instances":[[1,2,3,4,5,6]],"x":1}', UNENDED + "29: "),
    (JSON, '{"instances":[[1,2,3,4,5,6]', "Record 1: no comma and no end of the list after it (character 28: the end)"),
    (JSON, '{"instances":[[1,2,3,4,5,6]]', UNENDED + "29: the end)"),
    (JSON, "[[1,2,3,4,5,6],]", "Record 2, field 1 is not JSON: "),
    (JSON, "[[1,2,3,4,5,6];[1,2,3,4,5,6]]", "Record 1: no comma and no end of the list after it (character 15: "),
    (JSON, "[[1,2,3,4,5,6],[1,2,,4,5,6]]", 'Record 2, field 3 is not JSON: Expecting value (character 21: ",4,5,6]]")'),
    (JSON, '[{"a,\\"b":1,"c":2,"d":}]', 'Record 1, field 3 is not JSON: Expecting value (character 23: "}]")'),
    (JSON, "1,2,3,4,5,6", UNENDED + "2: "),
    (JSON, "1", "Record 1 is a number, not a list of numbers or an object"),
    (JSON, " ", "Record 1, field 1 is not JSON: "),
    (JSON, '[[1,2,3,4,5,6],"a"]', "Record 2 is a text, not a list"),
    (JSON, '{"instances":[1,2,3,4,5,6]}', "Record 1 is a number, not a list"),
    (JSON, "null", "Record 1 is null, not a list"),
    (JSON, '[1,2,3,4,"5",6]', "Record 1, field 5 is a text, not a number or null"),
    (JSON, '[1,2,3,4,"",6]', "Record 1, field 5 is a text, not a number or null"),
    (JSON, "[[1,2,3,4,5,true]]", "Record 1, field 6 is a boolean (send 1 or 0), not a number or null"),
    (JSON, "[[1,2,3,4,5,[6]]]", "Record 1, field 6 is a list, not a number or null"),
    (JSON, "[1,2,3,4,5,[6]]", "Record 1, field 6 is a list, not a number or null"),
    (JSON, "[[[1,2,3,4,5,6]]]", "Record 1 has 1 column, the model has 6"),
    (JSON, "[1,2,3,4,5,{}]", "Record 1, field 6 is an object, not a number or null"),
    (JSON, "[[1,2,3,4,5,6],[1,2,-Infinity,4,5,6]]", "Record 2, field 3 is infinite or too large for a float32"),
    (JSON, "[1,2,3,4,5,1e400]", "Record 1, field 6 is infinite or too large for a float32"),
    (JSON, "[1,2,3,4,5,-1e39]", "Record 1, field 6 is infinite or too large for a float32"),
    (JSON, "[1,2,3,4,5," + "9" * 10**6 + "]", "Record 1, field 6 is infinite or too large for a float32"),
    (JSON, "[" * 10**5 + "]" * 10**5, "Record 1 is nested too deeply"),
    (JSON, "[" + '{"a":' * 10**5, "Record 1 is nested too deeply"),
    (JSON, "\udcff[1]", "The body is not UTF-8: byte 1"),
    (JSON, '{"features":[1],"features":[1]}', 'Record 1, field "features" stands twice'),
]
REFUSED_BY_NAME = [
    ('[{"height":1},{"heigth":1}]', 'Record 2, field "heigth" is no feature of the model; did you mean "height"?'),
    ('[{"height":1},{"height":1,"hei\\u0067ht":2}]', 'Record 2, field "height" stands twice'),
    ('{"x":1,"instances":[[1]]}', 'Record 1, field "x" is no feature of the model'),
    ('{"length":{"a":1}}', 'Record 1, field "length" is an object, not a number or null'),
    ('{"length":[1,2]}', 'Record 1, field "length" is a list, not a number or null'),
    ('{"length":"1"}', 'Record 1, field "length" is a text, not a number or null'),
    ('{"<b>":1}', 'Record 1, field "&lt;b&gt;" is no feature of the model'),
    ('{"' + "x" * 10**6 + '":1}', 'Record 1, field "' + "x" * 60 + '..." is no feature of the model'),
]


@pytest.mark.parametrize(("kind", "body", "reason"), REFUSED, ids=lambda value: str(value)[:40])
def test_a_malformed_body_is_400_and_names_record_and_field(refusing, kind, body, reason):
    refusal = refusing(UNNAMED).post(body.encode("utf-8", "surrogateescape"), content_type=kind)
    assert (refusal.status_code, refusal.content_type) == (400, "text/plain; charset=utf-8")
    assert refusal.get_data(as_text=True).startswith(reason)
    assert len(refusal.data) < 300


@pytest.mark.parametrize(("body", "reason"), REFUSED_BY_NAME, ids=lambda value: str(value)[:40])
def test_a_malformed_object_is_400_and_names_record_and_field(refusing, body, reason):
    refusal = refusing(NAMED).post(body, content_type=JSON)
    assert refusal.status_code == 400
    assert refusal.get_data(as_text=True).startswith(reason)
    assert len(refusal.data) < 300


def test_a_model_without_names_refuses_objects_by_name(refusing):
    for body in ('{"length":1}', '{"f0":1}', "{}"):
        refusal = refusing(UNNAMED).post(body, content_type=JSON)
        reason = "Record 1 is an object by feature name, and the model does not name each of its features: "
        assert (refusal.status_code, refusal.data.decode()) == (400, reason + "send lists of 6 numbers")


def test_names_that_cannot_be_used_are_500_for_objects_alone(server):
    endpoint = server("binary", **ON)
    write_names(["one"])
    refusal = endpoint.post('{"one":1}', content_type=JSON)
    assert refusal.status_code == 500
    assert b'"feature_names.json" names 1 features, the model has 6' in refusal.data
    assert serve.ScoringService.MODEL_PATH.encode() not in refusal.data
    assert endpoint.post(GOOD, content_type=JSON).status_code == 200


@pytest.mark.parametrize("charset", ["utf-16", "latin-1", "", "x" * 500])
def test_another_charset_is_415(refusing, charset):
    refusal = refusing(UNNAMED).post(GOOD, content_type=f"application/json; a=b; charset={charset}")
    assert (refusal.status_code, refusal.data[:12]) == (415, b"The charset ")
    assert len(refusal.data) < 300


@pytest.fixture
def specimen(tmp_path):
    """The model file of a specimen of the zoo, a rare one too."""
    return lambda name: zoo.save(zoo.SPECIMENS[name], tmp_path, name)


@pytest.fixture
def refusing(server):
    """Serves a model with NAMES beside it, or without."""

    def start(named):
        endpoint = server("binary", **ON)
        if named:
            write_names(NAMES)
        return endpoint

    return start


# Numbers.


def tables(width):
    """Doubles of every bit pattern, their neighbours of float32, and what people send."""
    random = np.random.RandomState(11)
    bits = random.randint(0, 2**32, size=(150, 2 * width), dtype=np.uint64)
    doubles = (bits[:, :width] << np.uint64(32) | bits[:, width:]).view(np.float64)
    singles = np.frombuffer(random.bytes(150 * width * 4), np.float32).astype(np.float64).reshape(150, width)
    halves = singles + (np.nextafter(singles.astype(np.float32), np.float32(np.inf)).astype(np.float64) - singles) / 2
    plain = random.randn(150, width) * 10.0 ** random.randint(-12, 12, size=(150, width))
    whole = random.randint(-(2**60), 2**60, size=(150, width)).tolist()
    for table in (doubles, singles, halves, plain.round(3), -plain):
        cells = [[cell if abs(cell) < 3.4e38 else None for cell in row] for row in table.tolist()]
        yield cells
    yield whole


@pytest.mark.parametrize("name", ["missing", "one-feature", "gblinear"])
def test_random_tables_get_the_bytes_of_their_csv(server, specimen, name):
    endpoint = server(specimen(name), **ON)
    width = 1 if name == "one-feature" else zoo.FEATURES
    for table in tables(width):
        if width == 1:  # the base reads some single columns wrongly: the first line decides, and an empty one is none
            table[0] = [1.5]
            table[1:] = [row for row in table[1:] if row != [None]]
        expected = endpoint.post(csv(table))
        assert expected.status_code == 200, expected.data[:200]
        for kind, body in ((JSON, json.dumps(table)), (LINES, "\n".join(map(json.dumps, table)))):
            assert endpoint.post(body, content_type=kind).data == expected.data


@pytest.mark.parametrize("cell", ["-1e-05", "-2.5e-07", "5", "-7", "1e21", "null", "0.1", "-0.0", "123.456e-300"])
def test_one_cell_alone_is_not_taken_for_a_delimiter(server, specimen, cell):
    endpoint = server(specimen("one-feature"), **ON)
    expected = endpoint.post("1.5\n" + ("nan" if cell == "null" else cell))
    assert endpoint.post(f"[[{cell}]]", content_type=JSON).data == expected.data.split(b"\n")[1] + b"\n"


# Memory.


def peak(work):
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("form", ["lists", "one list a line", "objects"])
def test_a_large_body_takes_little_more_than_its_csv(server, form):
    endpoint = server("binary", **ON)
    write_names(["a", "b", "c", "d", "e", "f"])
    rows = [[1, 0.25, 3, 4.5, 5, 6]] * 3000
    objects = [dict(zip("abcdef", row)) for row in rows]
    kind = LINES if form == "one list a line" else JSON
    body = "\n".join(map(json.dumps, rows)) if kind == LINES else json.dumps(rows if form == "lists" else objects)
    text = csv(rows)
    assert endpoint.post(body, content_type=kind).data == endpoint.post(text).data  # and warm
    as_csv, as_json = peak(lambda: endpoint.post(text)), peak(lambda: endpoint.post(body, content_type=kind))
    assert as_json <= 1.5 * as_csv + 3 * len(body), (as_json, as_csv, len(body))


def test_objects_that_leave_out_most_names_are_limited(server, monkeypatch):
    monkeypatch.setattr(json_input, "MOST_CELLS", 600)
    endpoint = server("binary", **ON)
    write_names(NAMES)
    refusal = endpoint.post("[" + ",".join(["{}"] * 101) + "]", content_type=JSON)
    assert refusal.status_code == 413
    assert b"send at most 100 records a request" in refusal.data
    assert endpoint.post("[" + ",".join(["{}"] * 100) + "]", content_type=JSON).status_code == 200
