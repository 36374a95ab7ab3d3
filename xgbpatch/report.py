"""What `test-local` observed: checks with a verdict, a reason and seconds. Rendering lies elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


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

    def count(self, verdict: Verdict) -> int:
        return sum(result.verdict is verdict for result in self.results)
