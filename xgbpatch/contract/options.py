"""What one run of `test-local` was asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

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
    ready: float = 120  # SageMaker gives 480; a busy laptop is no reason to fail, and nobody waits that long
    grace: float = 30
    progress: Progress = field(default_factory=Silent)
