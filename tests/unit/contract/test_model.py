"""A report as JSON, JUnit and rows."""

import json
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from xgbpatch.contract.model import CheckResult, Report, Verdict

RESULTS = (
    CheckResult("serve.ping", Verdict.PASSED, "200, empty", 0.5),
    CheckResult("serve.csv", Verdict.FAILED, "row 1 differs\nby \x01 <much>", 1.25, "logs/serve.csv.plain.log"),
    CheckResult("shap.csv", Verdict.SKIPPED, "no such feature", 0.0),
)
REPORT = Report("my/image:tag", RESULTS)


def test_json_carries_every_field():
    document = json.loads(json.dumps(REPORT.document()))
    assert document["passed"] is False
    assert document["counts"] == {"passed": 1, "failed": 1, "skipped": 1}
    assert document["checks"][1] == {
        "name": "serve.csv", "verdict": "failed", "reason": RESULTS[1].reason, "seconds": 1.25,
        "log": "logs/serve.csv.plain.log",
    }  # fmt: skip


def test_junit_counts_and_names_as_ci_reads_them():
    suite = ElementTree.fromstring(REPORT.junit()).find("testsuite")
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "3", "failures": "1", "errors": "0", "skipped": "1",
    }  # fmt: skip
    cases = {f"{case.get('classname')}.{case.get('name')}": case for case in suite.findall("testcase")}
    failed = cases["xgbpatch.serve.csv"]
    assert "<much>" in failed.find("failure").get("message")
    assert "logs/serve.csv.plain.log" in failed.find("failure").text
    assert cases["xgbpatch.shap.csv"].find("skipped") is not None
    assert cases["xgbpatch.serve.ping"].find("failure") is None


@given(st.text())
def test_junit_is_well_formed_whatever_an_image_answers(reason):
    result = CheckResult("serve.csv", Verdict.FAILED, reason, 0.0)
    ElementTree.fromstring(Report("image", (result,)).junit())


def test_a_check_is_a_row():
    assert REPORT.rows()[1] == ("failed", "serve.csv", "  1.25 s", RESULTS[1].reason)
    assert REPORT.summary() == "my/image:tag: 1 passed, 1 failed, 1 skipped in 2 s"
