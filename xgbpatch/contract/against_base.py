"""Checks that a patched image answers as its base does, byte for byte, to requests that ask for nothing new."""

from __future__ import annotations

from collections.abc import Callable

from xgbpatch.contract import abalone, dialogue, multi_model
from xgbpatch.contract.allowed import Exchange, changed_by
from xgbpatch.contract.comparison import ENGINE_HEADER, difference
from xgbpatch.contract.dialogue import Question
from xgbpatch.contract.finding import Violation
from xgbpatch.contract.image import base_of
from xgbpatch.contract.payload import Row
from xgbpatch.contract.server import MULTI_MODEL, Stack
from xgbpatch.contract.session import Session
from xgbpatch.contract.settling import settled

_SHOWN = 3  # differences in one reason


def same_answers(stack: Stack, table: Callable[[tuple[Row, ...]], list[Question]]) -> Callable[[Session], str]:
    """The check that `stack` answers `table` as the base does."""

    def observe(session: Session) -> str:
        rows = session.rows if stack.foreign else abalone.rows()
        return _compare(session, stack, table(rows))

    return observe


def same_multi_model(session: Session) -> str:
    """A model's whole life on the multi-model server."""
    table = dialogue.multi_model(session.rows, multi_model.NAME, multi_model.LOAD)
    return _compare(session, MULTI_MODEL, table)


def _compare(session: Session, stack: Stack, questions: list[Question]) -> str:
    base_image = base_of(session)
    session.warm(stack, base_image)
    base, patched = session.server(stack, base_image), session.server(stack)
    asked = frozenset({ENGINE_HEADER} if "daal4py" in session.carried.features else ())
    found, repaired = [], 0
    for question in questions:
        answer = settled(base, question.request)
        differs = difference(answer, settled(patched, question.request), asked)
        if differs and changed_by(Exchange(stack, question.request, answer), session.carried.fixes):
            repaired += 1
        elif differs:
            found.append(f"{question.name} ({question.request}): {differs}")
    if found:
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise Violation(f"{len(found)} of {len(questions)} answers differ: " + "; ".join(found[:_SHOWN]) + more)
    but = f", but for {repaired} that show a bug whose fix the image carries" if repaired else ""
    return f"{len(questions)} answers, equal byte for byte{but}"
