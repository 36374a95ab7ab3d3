"""What errors and signals must not spoil: short steps that are not cut in two, and the error that ended a block."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from xgbpatch.errors import XgbpatchError

_HELD_BACK = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def postponed() -> Iterator[None]:
    """SIGINT and SIGTERM for this thread arrive when the block has ended: what the engine has made must be known here,
    to be removed."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def afterwards(clean_up: Callable[[], None]) -> Iterator[None]:
    """Runs `clean_up` however the block ends. An error of its own is raised after a block that ended well; after one
    that failed or was interrupted it is only a note on what ended the block, which decides the exit code."""
    try:
        yield
    except BaseException as error:
        try:
            clean_up()
        except Exception as second:
            _add_note(error, f"{second}. {second.next_step}" if isinstance(second, XgbpatchError) else str(second))
        raise
    clean_up()


def _add_note(error: BaseException, note: str) -> None:
    """`BaseException.add_note`, which Python 3.10 lacks."""
    error.__notes__ = [*getattr(error, "__notes__", ()), note]  # type: ignore[attr-defined]
