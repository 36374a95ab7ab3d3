"""A multi-model server whose models come and go under load, while some answers are larger than it sends.

What it says to such requests is counted and not judged; whether it is still there is.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from threading import Event, Thread

from support import ends
from support.differential.stage import Player, Servers, load_request
from support.load.endurance import csv
from xgbpatch.contract.http import Request

LIMIT = 6_553_500  # bytes: the model server's `max_response_size`, which the base leaves as it is
NAMES = ("first", "second", "third")  # of the models that come and go; one more always stays
_LOOKS_SECONDS = 0.5


@dataclass
class Races:
    """What one part answered: "what it was asked: status" → how many; and how often it ended unexpectedly."""

    answers: Counter[str] = field(default_factory=Counter)
    ends: list[ends.End] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"  {count:7d} {kind}" for kind, count in sorted(self.answers.items())]
        lines += [f"ended unexpectedly, {number} of {len(self.ends)}: {end}" for number, end in enumerate(self.ends, 1)]
        return "\n".join(lines if self.ends else [*lines, "nothing ended unexpectedly"])


def race(servers: Servers, part: str, model: str, clients: int, seconds: float) -> Races:
    """Ask the server of that part for so long; one that has ended is started anew. `model` is of the zoo."""
    races, end = Races(), time.monotonic() + seconds
    while time.monotonic() < end:
        player = servers.players()[part]
        oversized = csv(1, 0) + b"\n"
        oversized *= 1 + LIMIT * 6 // (5 * len(player.ask(_invocation(model, oversized)).body))
        over = Event()
        jobs = [(_asks, random.Random(number), oversized if number % 8 == 0 else b"") for number in range(clients)]
        jobs += [(_reloads, random.Random(-number), b"") for number in (1, 2)]  # on the same names
        threads = [Thread(target=job, args=(player, model, over, races, *rest)) for job, *rest in jobs]
        for thread in threads:
            thread.start()
        while player.container.running and time.monotonic() < end:
            time.sleep(_LOOKS_SECONDS)
        over.set()
        for thread in threads:
            thread.join()
        if unexpected_end := ends.end_of(player.container):
            races.ends.append(unexpected_end)
            player.stopped = True  # known now
    return races


def _asks(player: Player, model: str, over: Event, races: Races, chance: random.Random, oversized: bytes) -> None:
    while not over.is_set():
        name = chance.choice((model, NAMES[0]) if oversized else (model, *NAMES))
        body = oversized or csv(chance.randint(1, 25), chance.randint(0, 99))
        answer = player.ask(_invocation(name, body))
        _count(races, "an oversized answer" if oversized else "an answer", answer.status)


def _reloads(player: Player, model: str, over: Event, races: Races, chance: random.Random, _: bytes) -> None:
    while not over.is_set():
        name = chance.choice(NAMES)
        _count(races, "load", player.ask(load_request(name, model)).status)
        over.wait(chance.random())
        _count(races, "unload", player.ask(Request("DELETE", f"/models/{name}")).status)


def _count(races: Races, what: str, status: int) -> None:
    races.answers[f"{what}: {status or 'broken off'}"] += 1
    if not status:
        time.sleep(_LOOKS_SECONDS)  # it may have ended: nobody is asked in between


def _invocation(name: str, body: bytes) -> Request:
    return Request("POST", f"/models/{name}/invoke", (("Content-Type", "text/csv"), ("Accept", "text/csv")), body)
