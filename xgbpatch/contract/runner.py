"""Runs the checks of one image in order and keeps what they found."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import islice

from xgbpatch.contract.checks.table import Check, selected
from xgbpatch.contract.jobs import Job
from xgbpatch.contract.model import CheckResult, NotApplicable, Options, Report, Verdict, Violation
from xgbpatch.contract.session import Need, Session, model_files
from xgbpatch.engine.client import Engine
from xgbpatch.engine.types import LocalImage
from xgbpatch.errors import ConfigurationError, EngineError
from xgbpatch.reference import ImageReference

_JOBS_AHEAD = 3  # at once, before the first check; the others begin one by one, before they are asked


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
    applicable = [check for check in checks if not check.missing(session.carried)]
    for job in _jobs(applicable)[:_JOBS_AHEAD]:
        session.warm(job)
    for position, current in enumerate(checks, 1):
        session.options.progress.line(f"[{position}/{len(checks)}] {current.name}")
        missing = current.missing(session.carried)
        if missing:
            yield CheckResult(current.name, Verdict.SKIPPED, missing, 0.0)
            continue
        session.retain({need for later in applicable for need in later.needs})
        yield _result(session, current)
        applicable.remove(current)
        _warm_next(session, current.needs, applicable)


def _jobs(checks: Sequence[Check]) -> list[Job]:
    return list(dict.fromkeys(need for check in checks for need in check.needs if isinstance(need, Job)))


def _warm_next(session: Session, current: Sequence[Need], later: Sequence[Check]) -> None:
    """The next server boots, or the next job trains, while this one is still asked."""
    following = (need for check in later for need in check.needs if need not in current)
    for need in islice(following, 1):
        session.warm(need)


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
