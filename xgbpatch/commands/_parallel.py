"""A process for each image: what one of them does to itself (a signal, a full disk) stays its own.

Threads would share a signal that only the main one hears, and with it the clean-up of containers and uploads.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any

from xgbpatch.progress import Progress

Work = Callable[[Any, Progress], Any]
_CONTEXT = multiprocessing.get_context("spawn")
_ENDING = (signal.SIGINT, signal.SIGTERM)
_GRACE_SECONDS = 60


class PipeProgress:
    """A progress that says everything to another process, each sentence under its image's name."""

    def __init__(self, name: str, pipe: Connection) -> None:
        self._name = name
        self._pipe = pipe

    def line(self, text: str) -> None:
        self._pipe.send(("line", f"{self._name}: {text}"))

    def update(self, task: str, done: int, total: int, note: str = "") -> None:
        self._pipe.send(("update", f"{self._name}: {task}", done, total, note))


class WorkerDied(Exception):
    """The process of an image ended without an answer."""


def run_each(work: Work, items: dict[str, Any], jobs: int, progress: Progress) -> Iterator[tuple[str, Any]]:
    """`work(item, progress)` for every item, `jobs` at a time; (name, answer) as they come, or (name, `WorkerDied`).

    `work`, items and answers must be picklable. However this ends, every process is told to clean up, and waited for.
    """
    running: dict[str, SpawnProcess] = {}
    with ThreadPoolExecutor(jobs) as pool, _stopped(running):
        waiting = {pool.submit(_one, work, (name, item), running, progress): name for name, item in items.items()}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BaseException:
            for future in waiting:
                future.cancel()
            _stop(running)
            raise


def _one(work: Work, item: tuple[str, Any], running: dict[str, SpawnProcess], progress: Progress) -> Any:
    ours, theirs = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_child, args=(work, item, theirs))
    process.start()
    running[item[0]] = process
    theirs.close()
    answer: Any = WorkerDied(f'the process of "{item[0]}" ended without an answer')
    with ours:
        while (message := _received(ours)) is not None:
            kind, *rest = message
            if kind == "answer":
                answer = rest[0]
            else:
                getattr(progress, kind)(*rest)
    process.join()
    return answer


def _received(pipe: Connection) -> Any:
    """The next message, or None after the last one; a process that was killed may have sent half of it."""
    try:
        return pipe.recv()
    except (EOFError, OSError, pickle.UnpicklingError):
        return None


def _child(work: Work, item: tuple[str, Any], pipe: Connection) -> None:
    for number in _ENDING:
        signal.signal(number, _interrupt)
    name, value = item
    with pipe, suppress(KeyboardInterrupt):
        pipe.send(("answer", work(value, PipeProgress(name, pipe))))


def _interrupt(number: int, frame: FrameType | None) -> None:
    """The first signal ends the work; a terminal's SIGINT and our SIGTERM after it must not end the clean-up."""
    for other in _ENDING:
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextmanager
def _stopped(running: dict[str, SpawnProcess]) -> Iterator[None]:
    try:
        yield
    finally:
        _stop(running)


def _stop(running: dict[str, SpawnProcess]) -> None:
    alive = [process for process in running.values() if process.is_alive()]
    for process in alive:
        process.terminate()
    for process in alive:
        process.join(_GRACE_SECONDS)
