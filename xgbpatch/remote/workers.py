"""Threads that move blobs: the first error, or an interrupt, ends all of them and gives their uploads up."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from threading import Event, Lock, Thread

from xgbpatch.progress import Progress
from xgbpatch.remote.blobs import Traffic, Upload

_WORKERS = 4
_FAREWELL_SECONDS = 2.0  # a worker that waits for a silent registry is left behind, and ends with the program


class Stopped(Exception):
    """Another worker has failed, or the program is to end."""


class Watch:
    """What the workers of one transfer share: how far it is, what is under way, and whether to go on."""

    def __init__(self, task: str, total: int, progress: Progress) -> None:
        self._task, self._total, self._progress = task, total, progress
        self._lock = Lock()
        self._stop = Event()
        self._reached: dict[str, int] = {}
        self._uploads: list[Upload] = []
        self.traffic = Traffic()

    def reach(self, digest: str, size: int) -> None:
        """So many bytes of a blob are done; raises `Stopped` where no more are wanted."""
        if self._stop.is_set():
            raise Stopped
        with self._lock:
            self._reached[digest] = size
            self._progress.update(self._task, sum(self._reached.values()), self._total)

    def count(self, traffic: Traffic) -> None:
        """Add to what has crossed the network."""
        with self._lock:
            self.traffic += traffic

    @contextmanager
    def underway(self, upload: Upload) -> Iterator[None]:
        """The upload is given up unless the block comes to its end."""
        self._uploads.append(upload)
        try:
            yield
        except BaseException:
            upload.cancel()
            raise
        finally:
            self._uploads.remove(upload)

    def stop(self) -> None:
        """Every worker ends at its next piece."""
        self._stop.set()

    def abandon(self) -> None:
        """Give up what workers that hang still have under way."""
        for upload in tuple(self._uploads):
            upload.cancel()


def run(jobs: Sequence[Callable[[], None]], watch: Watch) -> None:
    """Do all jobs with up to four threads; raises what the first one that failed had met."""
    waiting, ended = deque(jobs), SimpleQueue[BaseException | None]()
    threads = [Thread(target=_work, args=(waiting, ended), daemon=True) for _ in range(min(_WORKERS, len(jobs)))]
    try:
        for thread in threads:
            thread.start()
        for _ in threads:
            error = ended.get()
            if error:
                raise error
    except BaseException:  # also an interrupt, which Python gives to the main thread alone
        watch.stop()
        waiting.clear()
        _part(threads)
        watch.abandon()
        raise


def _work(waiting: deque[Callable[[], None]], ended: SimpleQueue[BaseException | None]) -> None:
    try:
        while job := _next(waiting):
            job()
    except BaseException as error:  # raised again by `run`
        ended.put(error)
    else:
        ended.put(None)


def _next(waiting: deque[Callable[[], None]]) -> Callable[[], None] | None:
    with suppress(IndexError):
        return waiting.popleft()
    return None


def _part(threads: Sequence[Thread]) -> None:
    deadline = time.monotonic() + _FAREWELL_SECONDS
    for thread in threads:
        if thread.is_alive():
            thread.join(max(0.0, deadline - time.monotonic()))
