"""Generated JSON bodies: each becomes CSV of the same numbers, or is refused with a reason."""

import csv
import json
import math
import struct

from hypothesis import example, given
from hypothesis import strategies as st

from xgbpatch.overlays import json_input
from xgbpatch.overlays.json_input import JSON, LINES, JsonColumns, Refused

NAMES = ("length", "height", "features", "ü")


class Booster:
    """As much of one as columns are read from."""

    def __init__(self, width):
        self.feature_names = list(NAMES[:width])

    def num_features(self):
        return len(self.feature_names)


CELLS = st.none() | st.floats(-3.4e38, 3.4e38) | st.floats(width=32, allow_infinity=False, allow_nan=False)
TABLES = st.integers(1, len(NAMES)).flatmap(
    lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=4)
)
FORMS = {
    "lists": lambda rows: (JSON, json.dumps(rows)),
    "instances": lambda rows: (JSON, json.dumps({"instances": rows}, indent=1)),
    "features": lambda rows: (JSON, json.dumps([{"features": row} for row in rows])),
    "lines": lambda rows: (LINES, "\n".join(map(json.dumps, rows))),
    "objects": lambda rows: (JSON, json.dumps([named(row) for row in rows])),
    "lines of objects": lambda rows: (LINES, "\n".join(json.dumps(named(row), ensure_ascii=False) for row in rows)),
}


def named(row):
    return {name: cell for name, cell in reversed(list(zip(NAMES, row, strict=False))) if cell is not None}


def read(kind, body, width):
    columns = JsonColumns(Booster(width), None)
    return json_input.to_csv(body.encode("utf-8", "surrogatepass"), kind, columns).decode("ascii")


def cells(lines):
    """What the base's reader makes of CSV: the delimiter that it guesses from the first line, and doubles."""
    first, *_ = lines.split("\n")
    guessed = csv.Sniffer().sniff(first[:512]).delimiter
    delimiter = "," if guessed.isalnum() else guessed
    return [[float(cell) for cell in line.split(delimiter)] for line in lines.strip().split("\n")]


def bits(rows):
    return [[None if cell is None or math.isnan(cell) else struct.pack("<d", cell) for cell in row] for row in rows]


@given(TABLES, st.sampled_from(sorted(FORMS)))
@example([[-1e-05]], "lists")
@example([[-0.0, None]], "objects")
@example([[None]], "objects")
def test_every_form_has_the_doubles_of_its_table(rows, form):
    kind, body = FORMS[form](rows)
    assert bits(cells(read(kind, body, len(rows[0])))) == bits(rows)


TOKENS = st.sampled_from([
    *'[]{},:"\n ', "1", "-1e-5", "null", "NaN", "true", "Infinity", '"a"', '"length":', '"features":', '{"instances":[',
    "[1,2]", '{"length":1}', '{"features":[1,2]}', "\ufeff", "\ud800",
])  # fmt: skip


def outcome(kind, body, width):
    """The CSV, or the refusal."""
    try:
        return read(kind, body, width)
    except Refused as refusal:
        return refusal


@given(st.lists(TOKENS, max_size=12).map("".join), st.sampled_from([JSON, LINES]))
@example("[[1,2]]", JSON)
def test_any_body_is_a_table_of_the_models_width_or_refused_with_words(body, kind):
    table = outcome(kind, body, 2)
    if isinstance(table, Refused):
        assert (table.status, len(table.reason) < 300) == (400, True)
        assert table.reason.startswith("Record " if "\ud800" not in body else "The body is not UTF-8")
    else:
        assert not table or {len(row) for row in cells(table)} == {2}
