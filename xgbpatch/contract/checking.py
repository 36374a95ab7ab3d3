"""Runs the checks of one image in order and keeps what they found."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from xgbpatch.contract.finding import NotApplicable, Violation
from xgbpatch.contract.options import Options
from xgbpatch.contract.session import Need, Session, model_files
from xgbpatch.contract.table import Check, selected
from xgbpatch.contract.training import Job
from xgbpatch.engine.client import Engine
from xgbpatch.engine.values import LocalImage
from xgbpatch.errors import ConfigurationError, EngineError
from xgbpatch.reference import ImageReference
from xgbpatch.report import CheckResult, Report, Verdict


def check(engine: Engine, image: ImageReference | str, options: Options) -> Report:
    """Prove a local `image` (a reference or an ID) under SageMaker's contract.

    Raises `ConfigurationError` for an unknown check, image or model directory, before anything is started, and
    `EngineError` when the engine itself stops answering; what the image does wrong is in the report.
    """
    checks = selected(options)
    local = _local(engine, image)
    if options.model is not None:
        model_files(options.model)
    with Session.opened(engine, local, options) as session:
        return Report(str(image), tuple(_results(session, checks)))


def _local(engine: Engine, reference: ImageReference | str) -> LocalImage:
    image = engine.image(reference)
    if image is None:
        raise ConfigurationError(
            f'the engine holds no image "{reference}"', f"Build it, or run: docker pull {reference}"
        )
    return image


def _results(session: Session, checks: Sequence[Check]) -> Iterator[CheckResult]:
    for job in {check.need for check in checks if isinstance(check.need, Job)}:
        session.warm(job)
    for position, current in enumerate(checks):
        session.retain({later.need for later in checks[position:]})
        session.options.progress.line(f"[{position + 1}/{len(checks)}] {current.name}")
        yield _result(session, current)
        _warm_next(session, current.need, checks[position + 1 :])


def _warm_next(session: Session, current: Need | None, later: Sequence[Check]) -> None:
    """The next server boots while this one is still asked."""
    following = next((check.need for check in later if check.need is not None and check.need != current), None)
    if following is not None:
        session.warm(following)


def _result(session: Session, current: Check) -> CheckResult:
    session.forget_used()
    begun = time.monotonic()
    verdict, reason = _verdict(session, current)
    seconds = time.monotonic() - begun
    log = session.save_logs() if verdict is Verdict.FAILED else ""
    return CheckResult(current.name, verdict, reason, seconds, log)


def _verdict(session: Session, current: Check) -> tuple[Verdict, str]:
    try:
        return Verdict.PASSED, current.observe(session)
    except NotApplicable as reason:
        return Verdict.SKIPPED, str(reason)
    except Violation as reason:
        return Verdict.FAILED, str(reason)
    except EngineError as error:
        session.engine.leftovers()  # raises where it is the engine that failed, and not this image
        return Verdict.FAILED, error.message
