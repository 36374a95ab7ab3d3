"""Two answers are equal when a client cannot tell them apart."""

import pytest

from xgbpatch.contract.http import Answer, difference

HEADERS = {"content-type": "text/csv", "date": "Mon", "content-length": "4"}


@pytest.mark.parametrize(
    ("base", "patched"),
    [
        (Answer(200, HEADERS, b"1.5\n"), Answer(200, {**HEADERS, "date": "Tue"}, b"1.5\n")),
        (Answer(400, {}, b"[12:01:02] at 0x7f00"), Answer(400, {}, b"[12:01:03] at 0x7fffff")),
        (Answer(405, {"allow": "POST, OPTIONS"}, b""), Answer(405, {"allow": "OPTIONS, POST"}, b"")),
        (Answer(400, {"content-length": "5"}, b"0x1 a"), Answer(400, {"content-length": "6"}, b"0x12 a")),
    ],
    ids=["date", "addresses of an error", "a set in another order", "length of an address"],
)
def test_what_differs_by_nature_is_no_difference(base, patched):
    assert not difference(base, patched)


@pytest.mark.parametrize(
    ("patched", "pattern"),
    [
        (Answer(200, HEADERS, b"1.6\n"), r"body from byte 2: base b'1\.5"),
        (Answer(200, HEADERS, b"1.5"), "body from byte 3"),
        (Answer(200, HEADERS, b"1.5\n\n"), "body from byte 4"),
        (Answer(500, HEADERS, b"1.5\n"), "status: base 200"),
        (Answer(200, {**HEADERS, "content-type": "text/html"}, b"1.5\n"), 'content-type: base "text/csv"'),
        (Answer(200, {**HEADERS, "x-new": "1"}, b"1.5\n"), 'x-new: base absent, patched "1"'),
    ],
    ids=["one byte", "shorter", "longer", "status", "header", "new header"],
)
def test_a_difference_is_named(patched, pattern):
    import re

    assert re.search(pattern, difference(Answer(200, HEADERS, b"1.5\n"), patched))


def test_an_address_in_a_successful_body_counts():
    assert difference(Answer(200, {}, b"0x1"), Answer(200, {}, b"0x2"))


def test_a_header_that_was_asked_for_is_no_difference_but_only_in_the_patched_answer():
    plain, announced = Answer(200, {}, b""), Answer(200, {"x-xgbpatch-engine": "daal4py"}, b"")
    names = frozenset({"x-xgbpatch-engine"})
    assert not difference(plain, announced, names)
    assert difference(plain, announced)
    assert difference(announced, plain, names)
