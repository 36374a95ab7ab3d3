"""Options of a run, what an image carries, violations, and the report as a value, a table, JSON and JUnit."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from xgbpatch import provenance
from xgbpatch.engine.types import LocalImage
from xgbpatch.progress import Progress, Silent


@dataclass(frozen=True)
class Options:
    """`model` is a model directory served instead of the abalone model; `checks` are names or groups, none for all.

    `base` overrides the base that the image's labels name; `logs` receives the logs of failed checks. In seconds,
    `ready` is the limit for the first 200 of /ping, and `grace` what SageMaker leaves between SIGTERM and SIGKILL.
    """

    model: Path | None = None
    checks: tuple[str, ...] = ()
    against_base: bool = False
    base: str = ""
    logs: Path = Path("xgbpatch-logs")
    ready: float = 480  # what SageMaker gives; a server that ends is noticed at once, one that hangs is rare
    grace: float = 30
    progress: Progress = field(default_factory=Silent)


# What `test-local` observed: checks with a verdict, a reason and seconds. Rendering lies elsewhere.


class Verdict(Enum):
    """How a check ended. `SKIPPED` always carries the reason why the check does not apply to this image."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class CheckResult:
    """One check's outcome. `name` is stable (`serve.csv`), `log` is a path to the container's kept log or empty."""

    name: str
    verdict: Verdict
    reason: str
    seconds: float
    log: str = ""


@dataclass(frozen=True)
class Report:
    """All checks of one image, in the order they ran."""

    image: str
    results: tuple[CheckResult, ...]

    @property
    def passed(self) -> bool:
        return all(result.verdict is not Verdict.FAILED for result in self.results)

    @property
    def seconds(self) -> float:
        return sum(result.seconds for result in self.results)

    def count(self, verdict: Verdict) -> int:
        return sum(result.verdict is verdict for result in self.results)

    def document(self) -> dict[str, Any]:
        """The report as one JSON object."""
        return {
            "image": self.image,
            "passed": self.passed,
            "counts": {verdict.value: self.count(verdict) for verdict in Verdict},
            "seconds": round(self.seconds, 3),
            "checks": [
                {
                    "name": result.name,
                    "verdict": result.verdict.value,
                    "reason": result.reason,
                    "seconds": round(result.seconds, 3),
                    "log": result.log,
                }
                for result in self.results
            ],
        }

    def rows(self) -> list[tuple[str, ...]]:
        """A row a check: verdict, name, seconds, reason."""
        return [
            (result.verdict.value, result.name, f"{result.seconds:6.2f} s", result.reason) for result in self.results
        ]

    def summary(self) -> str:
        """One sentence."""
        counts = ", ".join(f"{self.count(verdict)} {verdict.value}" for verdict in Verdict)
        return f"{self.image}: {counts} in {self.seconds:.0f} s"

    def junit(self) -> bytes:
        """JUnit XML: one suite, one case a check; the group is the class name."""
        from xml.etree import ElementTree as xml  # written only, never parsed

        counts = {"tests": len(self.results), "failures": self.count(Verdict.FAILED), "errors": 0,
                  "skipped": self.count(Verdict.SKIPPED)}  # fmt: skip
        attributes = {name: str(value) for name, value in counts.items()} | {"time": f"{self.seconds:.3f}"}
        root = xml.Element("testsuites", attributes)
        suite = xml.SubElement(root, "testsuite", {"name": "xgbpatch test-local", **attributes})
        properties = xml.SubElement(suite, "properties")
        xml.SubElement(properties, "property", {"name": "image", "value": self.image})
        for result in self.results:
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


# How a check says that an image fails it, or that it does not apply.


class Violation(Exception):
    """The image breaks the contract; the message is the reason a user reads."""


class NotApplicable(Exception):
    """The check has no meaning for this image or model; the message says why."""


def require(holds: bool, reason: str) -> None:
    """Raise `Violation(reason)` unless `holds`."""
    if not holds:
        raise Violation(reason)


# What of ours an image carries, by its labels and by the variables that its build baked.


FEATURES_VARIABLE = "XGBPATCH_FEATURES"
FIXES_VARIABLE = "XGBPATCH_FIXES"


@dataclass(frozen=True)
class Carried:
    """The features and fixes of an image. One that a label names and no variable, or the reverse, counts: its checks
    tell whether it is there."""

    features: frozenset[str] = frozenset()
    fixes: frozenset[str] = frozenset()

    def missing(self, feature: str, fix: str) -> str:
        """Why a check of that feature and of that fix (empty: of none) does not apply, or nothing."""
        if feature and feature not in self.features:
            return f'the image was built without the feature "{feature}"'
        if fix and fix not in self.fixes:
            return f'the image was built without the fix "{fix}"'
        return ""


def read_carried(image: LocalImage) -> Carried:
    """What `image` says that it carries."""
    origin = provenance.read(image.labels)
    features, fixes = (origin.features, origin.fixes) if origin else ((), ())
    return Carried(
        frozenset({*features, *_names(image, FEATURES_VARIABLE)}), frozenset({*fixes, *_names(image, FIXES_VARIABLE)})
    )


def _names(image: LocalImage, variable: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in image.environment.get(variable, "").split(",") if name.strip())
