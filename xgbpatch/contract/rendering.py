"""A report as rows of a table for a person, a document for a program, JUnit for CI."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as xml  # written only, never parsed

from xgbpatch.contract.model import Report, Verdict


def document(report: Report) -> dict[str, Any]:
    """The report as one JSON object."""
    return {
        "image": report.image,
        "passed": report.passed,
        "counts": {verdict.value: report.count(verdict) for verdict in Verdict},
        "seconds": round(report.seconds, 3),
        "checks": [
            {
                "name": result.name,
                "verdict": result.verdict.value,
                "reason": result.reason,
                "seconds": round(result.seconds, 3),
                "log": result.log,
            }
            for result in report.results
        ],
    }


def rows(report: Report) -> list[tuple[str, ...]]:
    """A row a check: verdict, name, seconds, reason."""
    return [(result.verdict.value, result.name, f"{result.seconds:6.2f} s", result.reason) for result in report.results]


def summary(report: Report) -> str:
    """One sentence."""
    counts = ", ".join(f"{report.count(verdict)} {verdict.value}" for verdict in Verdict)
    return f"{report.image}: {counts} in {report.seconds:.0f} s"


def junit(report: Report) -> bytes:
    """JUnit XML: one suite, one case a check; the group is the class name."""
    counts = {"tests": len(report.results), "failures": report.count(Verdict.FAILED), "errors": 0,
              "skipped": report.count(Verdict.SKIPPED)}  # fmt: skip
    attributes = {name: str(value) for name, value in counts.items()} | {"time": f"{report.seconds:.3f}"}
    root = xml.Element("testsuites", attributes)
    suite = xml.SubElement(root, "testsuite", {"name": "xgbpatch test-local", **attributes})
    properties = xml.SubElement(suite, "properties")
    xml.SubElement(properties, "property", {"name": "image", "value": report.image})
    for result in report.results:
        group, _, name = result.name.partition(".")
        attributes = {"classname": f"xgbpatch.{group}", "name": name, "time": f"{result.seconds:.3f}"}
        case = xml.SubElement(suite, "testcase", attributes)
        # XML 1.0 has no way to write a control character.
        reason = "".join(letter if letter.isprintable() or letter in "\n\t" else "�" for letter in result.reason)
        if result.verdict is Verdict.FAILED:
            failure = xml.SubElement(case, "failure", {"message": reason, "type": "ContractError"})
            failure.text = f"{reason}\nlog: {result.log}" if result.log else reason
        elif result.verdict is Verdict.SKIPPED:
            xml.SubElement(case, "skipped", {"message": reason})
        else:
            xml.SubElement(case, "system-out").text = reason
    xml.indent(root)
    return bytes(xml.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"
