"""Processes that measure the same work by turns, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

SLICE = 0.05  # processor seconds of a turn, at least, where one call is shorter
NICE = 5


class Worker:
    """A process that answers each JSON line with one."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        self._command = command
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                ["nice", "-n", str(NICE), *command], env=dict(environment), text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        try:
            self.ready = self._read()
        except BaseException:
            self.close()
            raise

    def ask(self, question: object) -> Any:
        """The worker's answer; raises `RuntimeError` with the end of its log where it ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise RuntimeError(f"{' '.join(self._command)} ended with {code}:\n{self._log.read_text()[-3000:]}")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


class Rivals:
    """Workers by name; all end with the block."""

    def __init__(self) -> None:
        self.workers: dict[str, Worker] = {}
        self._exits = ExitStack()

    def add(self, name: str, worker: Worker) -> None:
        self._exits.callback(worker.close)
        self.workers[name] = worker

    def __enter__(self) -> Rivals:
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()


@dataclass(frozen=True)
class Turns:
    """Processor seconds a call of each rival, round by round."""

    seconds: dict[str, list[float]]

    def best(self, name: str) -> float:
        """The least, which is what the work costs where nothing else disturbs."""
        return min(self.seconds[name])

    def ratio(self, name: str, to: str) -> float:
        """The median of the rounds' ratios: how many times the processor time of `to` `name` takes."""
        return median(self.pairs(name, to))

    def pairs(self, name: str, to: str) -> list[float]:
        """The ratio of each round."""
        return [one / other for one, other in zip(self.seconds[name], self.seconds[to], strict=True)]


def take_turns(
    ask: Mapping[str, Callable[[int], float]], rounds: int = 7, slice_seconds: float = SLICE, once: float = 1.0
) -> Turns:
    """Each of `ask` (given a number of calls, the seconds of one) in each round, in alternating order.

    A turn has as many calls as fill `slice_seconds`; where one call of somebody takes longer than `once`, there are
    three rounds.
    """
    counts = {}
    for name, one in ask.items():
        one(1)  # what is made at the first call is not measured
        counts[name] = max(1, round(slice_seconds / max(one(1), 1e-7)))
        if counts[name] == 1 and one(1) > once:
            rounds = min(rounds, 3)
    seconds: dict[str, list[float]] = {name: [] for name in ask}
    for number in range(rounds):
        for name in list(ask)[:: -1 if number % 2 else 1]:
            seconds[name].append(ask[name](counts[name]))
    return Turns(seconds)
