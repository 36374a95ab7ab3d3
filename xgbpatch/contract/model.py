"""Options of a run, what an image carries, violations, and the report."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

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
