"""What `xgbpatch bench` says of its turns."""

from __future__ import annotations

import json

from xgbpatch.bench import report
from xgbpatch.bench.cases import SINGLE, Case
from xgbpatch.bench.load import Load
from xgbpatch.bench.runner import Figures, Result


def turn(requests, wrong=0):
    return Load(requests, wrong, 1.0, 0.002, 0.004, "wrk")


RESULT = Result(
    Case(SINGLE, "A", 100, True),
    {
        "base": Figures([turn(100), turn(50)], [0.010, 0.020], [turn(10)], 80_000_000),
        "mine": Figures([turn(300), turn(200)], [0.005, 0.005], [turn(10)], 90_000_000),
        "broken": Figures(refused="500 'no'"),
    },
)


def test_ratios_are_pair_by_pair_with_their_spread():
    base, mine, broken = (dict(zip(report.HEAD, line, strict=True)) for line in report.rows([RESULT])[1:])
    assert base["req/s"] == "75"
    assert mine["rows/s"] == "25,000"
    assert mine["req/s ratio"] == "3.50 (3.00 to 4.00)"
    assert mine["CPU ratio"] == "0.38 (0.25 to 0.50)"
    assert "500" in broken["req/s"]


def test_the_page_holds_all_and_asks_no_network():
    page = report.page([RESULT], "xgbpatch bench <x>")
    assert page.count('class="track"') == 9  # three quantities of three images
    assert page.count("not measured</span>") == 3
    assert "75 (50 to 100) requests/s" in page
    assert "5 (5 to 5) ms<" in page
    assert "&lt;x&gt;" in page
    assert "<script" not in page
    assert 'src="http' not in page
    assert json.loads(json.dumps(report.document([RESULT])))["cases"][0]["images"]["mine"]["closed"][0]["wrong"] == 0
