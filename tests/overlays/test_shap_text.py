"""The bytes of an explanation in every layout: what json and the base write of the numbers with the shortest texts."""

import json

import numpy as np
import pytest
from sagemaker_xgboost_container.algorithm_mode import serve_utils
from xgbpatch_overlays import native
from xgbpatch_overlays.settings import Explanation
from xgbpatch_overlays.shap import response

NAMES = ("f0", 'a "b", c', "\u00fc:=%", "\\u0000[]{}", "line\nbreak")
ROWS = 7


def explanation(classes, features):
    shape = (ROWS,) if classes is None else (ROWS, classes)
    random = np.random.RandomState(5)
    values = (random.randn(*shape, features + 1) * 10.0 ** random.randint(-9, 20, features + 1)).astype(np.float32)
    values[0, ..., -1], values[1, ..., 0], values[2, ..., -1] = -0.0, np.nan, np.inf
    matrices = random.randn(*shape, features + 1, features + 1).astype(np.float32)
    return Explanation(values, NAMES[:features], matrices)


def plain(array):
    """Nested lists of the doubles whose `repr` is the shortest text of the float32."""
    return [plain(each) for each in array] if np.ndim(array) else float(str(array))


def expected(values, key, record, in_csv=False):
    """What stands under `key` in a record, for json or for the base's encoder of CSV."""
    if key != response.TOP_K:
        names = (response.BASE_VALUE, response.VALUES, response.INTERACTIONS)
        whole = (values.values[..., -1], values.values[..., :-1], values.interactions)[names.index(key)]
        return plain(whole[record])
    vectors = values.values[record][..., :-1]
    order = np.argsort(-np.abs(vectors), axis=-1, kind="stable")[..., :3]

    def top(vector, places):
        if in_csv:
            return response.Pairs(response.pair(values.names[i], float(str(vector[i]))) for i in places)
        return [{"feature": values.names[i], "value": float(str(vector[i]))} for i in places]

    return top(vectors, order) if vectors.ndim == 1 else response.Pairs(map(top, vectors, order))


@pytest.fixture(params=["native", "native, in parts", "python"])
def engine(request, monkeypatch):
    if request.param == "python":
        monkeypatch.setattr(native, "available", lambda: False)
    elif request.param != "native":
        monkeypatch.setattr(native, "AT_ONCE", 100)


SHAPES = [(None, len(NAMES)), (3, len(NAMES)), (1, 1), (None, 1)]


@pytest.mark.parametrize(("classes", "features"), SHAPES)
@pytest.mark.parametrize("count", [ROWS, 2, 0])
@pytest.mark.usefixtures("engine")
def test_json_and_json_lines(classes, features, count):
    values = explanation(classes, features)
    keys = (response.BASE_VALUE, response.VALUES, response.TOP_K, response.INTERACTIONS)
    appended = response.AppendedKeys(response.KeyValues(values, 3), keys)
    records = [{"score": number / 3, "label": "shap_values"} for number in range(ROWS)]
    extended = [
        dict(entry, **{key: expected(values, key, number) for key in keys})
        for number, entry in enumerate(records[:count])
    ]
    document = response.to_json(json.dumps({"predictions": records, "more": 1}), appended)
    assert document(count).decode() == json.dumps({"predictions": extended, "more": 1})
    lines = response.to_json_lines("".join(json.dumps(entry) + "\n" for entry in records), appended)
    assert lines(count).decode() == "".join(json.dumps(entry) + "\n" for entry in extended)


@pytest.mark.parametrize(("classes", "features"), SHAPES)
@pytest.mark.parametrize("key", [response.VALUES, response.TOP_K])
@pytest.mark.usefixtures("engine")
def test_lines(classes, features, key):
    values = explanation(classes, features)
    keys = (response.BASE_VALUE, key, response.INTERACTIONS)
    write = response.to_lines("0.5\n" * ROWS, response.AppendedKeys(response.KeyValues(values, 3), keys))
    lines = []
    for number in range(ROWS):
        parts = [expected(values, each, number, in_csv=True) for each in keys]
        vectors = [parts] if classes is None else zip(*parts)
        cells = [str(cell) for vector in vectors for part in vector for cell in np.ravel(np.array(part, dtype=object))]
        lines.append(",".join(["0.5", *cells]) + "\n")
    assert write(ROWS).decode() == "".join(lines)
    assert write(2).decode() == "".join(lines[:2])


@pytest.mark.parametrize(("classes", "features"), SHAPES)
@pytest.mark.parametrize("accept", ["text/csv", "application/json", "application/jsonlines"])
@pytest.mark.usefixtures("engine")
def test_selected_keys_are_the_bases_encoding_of_the_same_numbers(classes, features, accept):
    values = explanation(classes, features)
    keys = ["shap_interactions", "predicted_score", "base_value", "shap_top_k", "probabilities", "shap_values"]
    records = [{"predicted_score": number / 3, "probabilities": [0.1, float("nan")]} for number in range(ROWS)]
    in_csv = accept == "text/csv"
    plain_records = [
        dict(entry, **{key: expected(values, key, number, in_csv) for key in keys if key in response.KEYS})
        for number, entry in enumerate(records)
    ]
    base = serve_utils.encode_selected_predictions(plain_records, keys, accept)
    if in_csv and features == 1:  # the stand-in quotes what has a comma, the base every list
        return
    ours = response.encode_selected(records, response.KeyValues(values, 3), keys, accept)
    if accept == "text/csv":
        assert ours.decode() == base
    else:  # the keys of a record come in their own order
        base = base.encode() if isinstance(base, str) else base
        assert [list(map(str, sorted(json.loads(line).items()))) for line in ours.splitlines()] == [
            list(map(str, sorted(json.loads(line).items()))) for line in base.splitlines()
        ]


def test_a_model_without_features_has_a_base_value_alone():
    values = Explanation(np.float32([[0.1], [0.2]]), ())
    appended = response.AppendedKeys(response.KeyValues(values, None), (response.BASE_VALUE, response.VALUES))
    assert response.to_lines("1\n2\n", appended)(2) == b"1,0.1\n2,0.2\n"
    assert b'"base_value": 0.1, "shap_values": []}' in response.to_json('{"predictions": [{}, {}]}', appended)(2)
