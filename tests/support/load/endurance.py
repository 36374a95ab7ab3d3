"""A server under load for a while: what it answered, how fast, and how its memory grew."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from support.differential.stage import Player
from support.load.traffic import NEVER, Exchange, Record, Traffic, post
from xgbpatch.contract.http import Request

GROWTH_LIMIT = 150 * 10**6  # bytes; the longevity test of AWS's deep-learning-containers has the same
BODIES = (1, 1, 2, 5, 10, 25)  # records a request


@dataclass(frozen=True)
class Endurance:
    """Bytes of memory before and after, and the record of the traffic between."""

    before: int
    after: int
    record: Record

    @property
    def growth(self) -> int:
        return self.after - self.before

    @property
    def errors(self) -> dict[str, int]:
        """Kinds of outcomes other than the right answer → how many."""
        return {kind: count for kind, count in sorted(self.record.kinds.items()) if kind != "200"}

    @property
    def passed(self) -> bool:
        return not self.errors and self.growth < GROWTH_LIMIT

    def __str__(self) -> str:
        record = self.record
        good = record.kinds["200"]
        errors = ", ".join(f"{count} {kind}" for kind, count in self.errors.items()) or "no error"
        return (
            f"{good} requests in {record.seconds:.0f} s ({good / record.seconds:.0f}/s), {errors}; "
            f"p50 {record.percentile(0.5):.0f} ms, p99 {record.percentile(0.99):.0f} ms; "
            f"memory {self.before / 1e6:.0f} to {self.after / 1e6:.0f} MB ({self.growth / 1e6:+.0f})"
        )


def endure(player: Player, path: str, clients: int, *, seconds: float, each: float = NEVER) -> Endurance:
    """Post different bodies from all clients; every answer must be the one that a single client got before.

    It ends after `seconds`, or when each client has asked `each` times.
    """
    exchanges = [_exchange(player, path, rows, seed) for seed, rows in enumerate(BODIES)]
    before = player.container.memory()
    record = Traffic(player.address, exchanges, clients, each=each).run(seconds)
    return Endurance(before, player.container.memory(), record)


def csv(rows: int, seed: int, features: int = 6) -> bytes:
    x = np.round(np.random.RandomState(seed).standard_normal((rows, features)), 3)
    return "\n".join(",".join(map(repr, row)) for row in x.tolist()).encode()


def _exchange(player: Player, path: str, rows: int, seed: int) -> Exchange:
    body = csv(rows, seed)
    headers = (("Content-Type", "text/csv"), ("Accept", "text/csv"))
    answer = player.ask(Request("POST", path, headers, body))
    assert answer.status == 200, answer
    return Exchange(post(path, body), answer.body)
