"""What an answer with SHAP values behind its predictions must be, against the base's answer and the oracle's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from xgbpatch.contract.http import ENGINE_HEADER, Answer, difference

TOLERANCE = 1e-4  # times max(1, |margin|)
NOT_ACCEPTABLE, REFUSED = 406, 400
RECORD = bytes.fromhex("0a23d7ce")  # the magic of RecordIO
ADDED = frozenset({ENGINE_HEADER, "x-amzn-sagemaker-custom-attributes"})  # what the features say of themselves


def explained_difference(base: Answer, explained: Answer, truth: dict[str, Any]) -> str:
    """What an answer with SHAP values does wrong; `truth` is the oracle's."""
    if base.body.startswith(RECORD):
        return "" if explained.status == NOT_ACCEPTABLE else f"protobuf cannot carry SHAP values: {explained}"
    if truth.get("misread"):
        refused = explained.status == REFUSED and b"the model has" in explained.body
        return "" if refused else f"a misread record is not explained: {explained}"
    if explained.status != base.status:
        return f"status: base {base}, explained {explained}"
    bare, numbers = bared(base, explained)
    return difference(base, bare, ADDED) or wrong_values(numbers, truth)


def bared(base: Answer, explained: Answer) -> tuple[Answer, np.ndarray]:
    """The answer without its SHAP values, and these: (n, classes * (features + 1)), base value first."""
    strip = _layout(base)
    text, rows = strip(base.text, explained.text)
    body = text.encode()
    headers = dict(explained.headers)
    if "content-length" in headers and headers["content-length"] == str(len(explained.body)):
        headers["content-length"] = str(len(body))
    return Answer(explained.status, headers, body), np.array(rows, dtype=float)


def _layout(base: Answer) -> Callable[[str, str], tuple[str, list[list[float]]]]:
    """How the base wrote its answer. In batch transform it is lines, whatever its type says."""
    kind, start = base.headers["content-type"].partition(";")[0], base.body[:1]
    if kind == "application/json" and start in b"{[":
        return _json if start == b"{" else _multi_model_json
    if kind == "application/jsonlines" and start == b"{":
        return _json_lines
    return _lines if b"\n" in base.body else _multi_model_line


def _lines(base: str, explained: str) -> tuple[str, list[list[float]]]:
    """The base's line, then the numbers."""
    theirs, ours = base.split("\n"), explained.split("\n")
    stay, rows = [], []
    for number, mine in enumerate(ours):
        line = theirs[number] if number < len(theirs) else ""
        follows = bool(line) and mine.startswith(line + ",")
        stay.append(line if follows else mine)
        rows += [[float(cell) for cell in mine[len(line) + 1 :].split(",")]] if follows else []
    return "\n".join(stay), rows


def _json(base: str, explained: str) -> tuple[str, list[list[float]]]:
    document = json.loads(explained)
    rows = [_taken(record) for record in document["predictions"]]
    return json.dumps(document), rows


def _json_lines(base: str, explained: str) -> tuple[str, list[list[float]]]:
    records = [json.loads(line) for line in explained.splitlines()]
    rows = [_taken(record) for record in records]
    return "".join(json.dumps(record) + "\n" for record in records), rows


def _multi_model_json(base: str, explained: str) -> tuple[str, list[list[float]]]:
    """The multi-model server's bare list becomes the single-model server's document."""
    document = json.loads(explained)
    rows = [_taken(record) for record in document["predictions"]]
    return json.dumps([record["score"] for record in document["predictions"]]), rows


def _multi_model_line(base: str, explained: str) -> tuple[str, list[list[float]]]:
    """The multi-model server's only line becomes a line a record."""
    lines = [line.split(",") for line in explained.splitlines()]
    return ",".join(line[0] for line in lines), [[float(cell) for cell in line[1:]] for line in lines]


def _taken(record: dict[str, Any]) -> list[float]:
    """The contributions of a record, which go out of it."""
    first, rest = np.array(record.pop("base_value")), np.array(record.pop("shap_values"))
    return list(np.concatenate([first.reshape(-1, 1), rest.reshape(first.size, -1)], axis=1).ravel())


def wrong_values(explained: np.ndarray, truth: dict[str, Any]) -> str:
    """How `explained` differs from the oracle's `values` and from its `margins`, or nothing."""
    values, margins = np.array(truth["values"]), np.array(truth["margins"])
    expected = np.concatenate([values[..., -1:], values[..., :-1]], axis=-1)  # base value first
    if explained.size != expected.size:
        return f"{explained.shape} contributions, not {expected.shape}"
    explained = explained.reshape(expected.shape)
    allowed = TOLERANCE * np.maximum(1, np.abs(margins))
    away = np.abs(explained - expected).max(axis=-1)
    added = np.abs(explained.sum(axis=-1) - margins)
    if not (away <= allowed).all():  # not a number is no better
        return f"contributions are {away.max():.3g} away from the booster's"
    return f"the sums are {added.max():.3g} away from the margins" if not (added <= allowed).all() else ""
