"""Copies of blobs between repositories: parallel, verified by digest, given up cleanly at an error or an interrupt."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import IO

from xgbpatch.errors import RegistryError
from xgbpatch.oci.manifest import Descriptor
from xgbpatch.progress import Progress
from xgbpatch.registry.blobs import BlobStore, Traffic, Upload, UploadLost
from xgbpatch.registry.http import RetryPolicy

_WORKERS = 4
_FAREWELL_SECONDS = 2.0  # a worker that waits for a silent registry is left behind, and ends with the program


class CopyStopped(Exception):
    """Another worker has failed, or the program is to end."""


class CopyWatch:
    """What the workers of one transfer share: how far it is, what is under way, and whether to go on."""

    def __init__(self, task: str, total: int, progress: Progress) -> None:
        self._task, self._total, self._progress = task, total, progress
        self._lock = Lock()
        self._stop = Event()
        self._reached: dict[str, int] = {}
        self._uploads: list[Upload] = []
        self.traffic = Traffic()

    def reach(self, digest: str, size: int) -> None:
        """So many bytes of a blob are done; raises `CopyStopped` where no more are wanted."""
        if self._stop.is_set():
            raise CopyStopped
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


def run_jobs(jobs: Sequence[Callable[[], None]], watch: CopyWatch) -> None:
    """Do all jobs with up to four threads; raises what the first one that failed had met."""
    waiting, results = deque(jobs), SimpleQueue[BaseException | None]()
    threads = [Thread(target=_work, args=(waiting, results), daemon=True) for _ in range(min(_WORKERS, len(jobs)))]
    try:
        for thread in threads:
            thread.start()
        for _ in threads:
            error = results.get()
            if error:
                raise error
    except BaseException:  # also an interrupt, which Python gives to the main thread alone
        watch.stop()
        waiting.clear()
        deadline = time.monotonic() + _FAREWELL_SECONDS
        for thread in threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))
        watch.abandon()
        raise


def _work(waiting: deque[Callable[[], None]], results: SimpleQueue[BaseException | None]) -> None:
    try:
        while True:
            try:
                job = waiting.popleft()
            except IndexError:
                break
            job()
    except BaseException as error:  # raised again by `run_jobs`
        results.put(error)
    else:
        results.put(None)


# Blobs on their way from one repository to another, or from here into one: in parallel, verified, in little memory.
#
# Nothing lies in between: no disk is touched, and no more than a piece for each worker is held.


_READ_BYTES = 1 << 18
_FOREIGN = ("foreign", "nondistributable")

Pause = Callable[[float], None]


Opened = Callable[[], AbstractContextManager[Iterator[bytes]]]  # a blob's bytes from the first one on, each time


def copy(
    source: BlobStore, target: BlobStore, blobs: Sequence[Descriptor], progress: Progress, pause: Pause = time.sleep
) -> Traffic:
    """Bring `blobs` into the target: what it has is left, what its registry has is mounted, the rest is streamed.

    A blob is visible when it is whole and its digest is right, else never; after an error the finished ones stay, so
    that the next run goes on from there. Raises `RegistryError` or `AwsError`, the first that any worker met.
    """
    unique = {blob.digest: blob for blob in blobs}
    for blob in unique.values():
        if any(word in blob.media_type for word in _FOREIGN):
            raise RegistryError(
                f'layer "{blob.digest}" is "{blob.media_type}": it lies outside of registries and cannot be copied',
                "Push the image with its foreign layers into a registry of your own first.",
            )
    watch = CopyWatch(f'copying to "{target.reference.name}"', sum(blob.size for blob in unique.values()), progress)

    def bring(blob: Descriptor) -> None:
        watch.reach(blob.digest, 0)
        if target.has(blob.digest):
            watch.count(Traffic(present=1))
        elif target.mount(blob.digest, source.reference):
            watch.count(Traffic(mounted=1))
        else:
            _send(target, blob, partial(_received, source, blob, watch), pause, watch)
        watch.reach(blob.digest, blob.size)

    longest_first = sorted(unique.values(), key=lambda blob: blob.size, reverse=True)  # which ends the soonest
    run_jobs([partial(bring, blob) for blob in longest_first], watch)
    return watch.traffic


def put(
    target: BlobStore, content: IO[bytes], descriptor: Descriptor, progress: Progress, pause: Pause = time.sleep
) -> Traffic:
    """Upload a blob of our own, which begins where `content` stands; it must be able to seek."""
    if target.has(descriptor.digest):
        return Traffic(present=1)
    watch = CopyWatch(f'sending to "{target.reference.name}"', descriptor.size, progress)
    start = content.tell()

    @contextmanager
    def opened() -> Iterator[Iterator[bytes]]:
        content.seek(start)
        yield iter(partial(content.read, _READ_BYTES), b"")

    _send(target, descriptor, opened, pause, watch)
    return watch.traffic


@contextmanager
def _received(source: BlobStore, blob: Descriptor, watch: CopyWatch) -> Iterator[Iterator[bytes]]:
    def counted(pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            watch.count(Traffic(received=len(piece)))
            yield piece

    with source.opened(blob.digest) as pieces:
        yield counted(pieces)


def _send(target: BlobStore, blob: Descriptor, opened: Opened, pause: Pause, watch: CopyWatch) -> None:
    """From the first byte again, some times, where the registry has lost the upload; it may have finished it late."""
    patience = RetryPolicy(pause)
    while True:
        try:
            upload = target.begin(blob.size)
            with watch.underway(upload), opened() as received:
                for piece in _regrouped(_verified(received, blob, watch), upload.piece_bytes):
                    upload.send(piece)
                    watch.count(Traffic(sent=len(piece)))
                    del piece  # before the next one is gathered
                upload.finish(blob.digest)
        except UploadLost:
            if not patience.wait():
                raise
            if target.has(blob.digest):
                return
        else:
            return


def _verified(pieces: Iterator[bytes], blob: Descriptor, watch: CopyWatch) -> Iterator[bytes]:
    """The same pieces; raises `RegistryError` where they are too many, or at their end where they are not the blob."""
    hashed, size = hashlib.sha256(), 0
    for piece in pieces:
        hashed.update(piece)
        size += len(piece)
        if size > blob.size:
            break
        watch.reach(blob.digest, size)
        yield piece
    digest = f"sha256:{hashed.hexdigest()}"
    if (digest, size) != (blob.digest, blob.size):
        raise RegistryError(
            f'wrong bytes came for blob "{blob.digest}" of {blob.size} bytes: {size} with digest "{digest}"',
            "Nothing was stored. Try again; a proxy or a damaged registry stands between.",
        )


def _regrouped(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    """In pieces of `size`, a shorter one at the end."""
    parts: list[bytes] = []
    buffered = 0
    for piece in pieces:
        rest = piece
        while buffered + len(rest) >= size:
            parts.append(rest[: size - buffered])
            rest = rest[size - buffered :]
            whole, buffered = b"".join(parts), 0
            parts.clear()
            yield whole
            del whole  # megabytes that need not be there twice
        parts.append(rest)
        buffered += len(rest)
    if buffered:
        yield b"".join(parts)
