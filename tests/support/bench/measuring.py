"""What a command costs: seconds, bytes through counting proxies, memory and writes of processes."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Event, Lock, Thread
from typing import IO

_PIECE = 1 << 18
_PAUSE_SECONDS = 0.05


class CountingProxy(ThreadingTCPServer):
    """Passes bytes to a registry and back, and counts them, headers included."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, upstream: int) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.upstream = upstream
        self.sent = self.received = 0
        self.lock = Lock()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no error."""


class _Passing(BaseRequestHandler):
    server: CountingProxy

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.upstream)) as upstream:
            back = Thread(target=self._pass, args=(upstream, self.request, "received"), daemon=True)
            back.start()
            self._pass(self.request, upstream, "sent")
            back.join()

    def _pass(self, source: socket.socket, target: socket.socket, counter: str) -> None:
        with suppress(OSError):
            while piece := source.recv(_PIECE):
                with self.server.lock:
                    setattr(self.server, counter, getattr(self.server, counter) + len(piece))
                target.sendall(piece)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@contextmanager
def counted(upstream: int) -> Iterator[CountingProxy]:
    """A proxy before the registry on that port."""
    with CountingProxy(upstream) as proxy:
        Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield proxy
        finally:
            proxy.shutdown()


@dataclass(frozen=True)
class Command:
    """A command, and what it reads from stdin."""

    words: Sequence[str]
    stdin: Path | None = None


@dataclass(frozen=True)
class Figures:
    """What some commands cost, one after the other. Bytes, but for `seconds`.

    `memory` and `written` are those of the commands and all their children; the engine's stand apart.
    """

    seconds: float
    sent: int
    received: int
    memory: int
    written: int
    engine_memory: int
    engine_written: int


@dataclass
class Meter:
    """Measures commands that run with `environment`, beside an engine (0: none) and before some proxies."""

    environment: Mapping[str, str]
    proxies: Sequence[CountingProxy]
    engine: int = 0
    outputs: list[str] = field(default_factory=list)

    def measure(self, commands: Sequence[Command]) -> Figures:
        """Run them; `outputs` gets their stdout. Raises `RuntimeError` where one fails."""
        os.sync()  # what the step before left to be written is not this one's
        before = [(proxy.sent, proxy.received) for proxy in self.proxies]
        with watched(self.engine) as engine:
            begun = time.monotonic()
            costs = [self._run(command) for command in commands]
            seconds = time.monotonic() - begun
        pairs = zip(self.proxies, before)  # noqa: B905
        moved = [(proxy.sent - sent, proxy.received - received) for proxy, (sent, received) in pairs]
        return Figures(
            seconds, sum(sent for sent, _ in moved), sum(received for _, received in moved),
            max(cost[0] for cost in costs), sum(cost[1] for cost in costs), engine.memory, engine.written,
        )  # fmt: skip

    def _run(self, command: Command) -> tuple[int, int]:
        with _opened(command.stdin) as stdin:
            process = subprocess.Popen(
                command.words, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(self.environment),
            )  # fmt: skip
        with watched(process.pid) as watch:
            texts = ["", ""]
            readers = [
                Thread(target=_read, args=(pipe, texts, n)) for n, pipe in enumerate((process.stdout, process.stderr))
            ]
            for reader in readers:
                reader.start()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            for reader in readers:
                reader.join()
        if process.returncode:
            raise RuntimeError(f"{' '.join(command.words)} ended with {process.returncode}\n{texts[1][-3000:]}")
        self.outputs.append(texts[0].strip())
        return watch.memory, usage.ru_oublock * 512


@dataclass
class Watch:
    """A process and its children, looked at again and again: the most memory they had together, or one of them between
    two looks (the kernel remembers; its `ru_maxrss` also counts what a process was forked from), and what they wrote.

    A child's last writes, after the last look at it, are missed.
    """

    pid: int
    memory: int = 0
    _first: dict[int, int] = field(default_factory=dict)
    _last: dict[int, int] = field(default_factory=dict)
    _ended: Event = field(default_factory=Event)

    @property
    def written(self) -> int:
        return sum(now - self._first[pid] for pid, now in self._last.items())

    def look(self, begin: bool = False) -> None:
        """Take the figures of this moment; what a process had written when the watch began is not counted."""
        memory = 0
        for pid in family(self.pid):
            with suppress(OSError, IndexError):
                now, most = _resident(pid)
                memory += now
                self.memory = max(self.memory, most)
                written = _written(pid)
                self._first.setdefault(pid, written if begin else 0)
                self._last[pid] = written
        self.memory = max(self.memory, memory)

    def run(self) -> None:
        """Look until told to end."""
        while not self._ended.wait(_PAUSE_SECONDS):
            self.look()

    def end(self) -> None:
        self._ended.set()


@contextmanager
def watched(pid: int) -> Iterator[Watch]:
    """A watch on that process for as long as the block lasts."""
    watch = Watch(pid)
    watch.look(begin=True)
    thread = Thread(target=watch.run, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.end()
        thread.join()
        watch.look()


def family(pid: int) -> Iterator[int]:
    """That process and all below it; none for 0."""
    if not pid:
        return
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in children.read_text().split():
                yield from family(int(child))


def _resident(pid: int) -> tuple[int, int]:
    """Now, and the most so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return tuple(int(fields.get(name, "0 kB").split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))


def _written(pid: int) -> int:
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("write_bytes")).split()[1])


def _read(pipe: IO[bytes], texts: list[str], number: int) -> None:
    texts[number] = pipe.read().decode(errors="replace")
    pipe.close()


@contextmanager
def _opened(path: Path | None) -> Iterator[IO[bytes] | int]:
    if path is None:
        yield subprocess.DEVNULL
        return
    with path.open("rb") as file:
        yield file
