"""Load on one server: closed loop (a client asks again when it was answered), open loop (a request each 1/rate s), job.

wrk asks where it is installed, else aiohttp. Every answer is compared with the expected body; one that differs counts
as wrong, and is in no latency of aiohttp's.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING

from xgbpatch.errors import ExtraMissingError, XgbpatchError

if TYPE_CHECKING:
    import aiohttp

HEADERS = {"Content-Type": "text/csv", "Accept": "text/csv"}
_TIMEOUT_SECONDS = 65  # SageMaker gives an invocation 60
_SLOW = 0.2  # seconds of a request: wrk's least duration has too few of them

_SCRIPT = """
local folder = "%s"
local function content(name)
  local file = io.open(folder .. "/" .. name, "rb")
  local text = file:read("*a")
  file:close()
  return text
end
wrk.method = "POST"
wrk.body = content("body")
wrk.headers["Content-Type"] = "text/csv"
wrk.headers["Accept"] = "text/csv"
local expected = content("expected")
local threads = {}
wrong = 0
function setup(thread) table.insert(threads, thread) end
function response(status, headers, body)
  if status ~= 200 or body ~= expected then wrong = wrong + 1 end
end
function done(summary, latency, requests)
  local sum = 0
  for _, thread in ipairs(threads) do sum = sum + thread:get("wrong") end
  local e = summary.errors
  io.write(string.format('\\n{"requests": %%d, "microseconds": %%d, "wrong": %%d, "p50": %%f, "p99": %%f}\\n',
    summary.requests, summary.duration, sum + e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Load:
    """What became of one turn: good answers, wrong ones, seconds, latencies in seconds."""

    requests: int
    wrong: int
    seconds: float
    p50: float
    p99: float
    client: str

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return self.requests / self.seconds


def require_client() -> None:
    """Raises `ExtraMissingError` without aiohttp, which the open loop needs."""
    try:
        import aiohttp  # noqa: F401
    except ImportError as error:
        raise ExtraMissingError("xgbpatch bench", "bench") from error


def client_of(slowest: float) -> str:
    """Who asks in a closed loop, the path of wrk or "" for aiohttp; `slowest`: the longest of all servers' requests.

    It is the same for all servers of a comparison.
    """
    return (shutil.which("wrk") or "") if slowest < _SLOW else ""


def closed(url: str, body: bytes, expected: bytes, clients: int, seconds: float, one: float, wrk: str) -> Load:
    """`clients` clients for `seconds`; `one` is what a request takes alone, `wrk` from `client_of`."""
    if wrk:
        return _wrk(wrk, url, body, expected, clients, max(1, round(seconds)))
    return asyncio.run(_closed(url, body, expected, clients, max(seconds, 1.5 * one * clients)))


def job(url: str, body: bytes, expected: bytes, requests: int) -> Load:
    """So many requests one after the other, as a batch transform job sends them to a server of one worker."""
    return asyncio.run(_closed(url, body, expected, 1, 0.0, requests))


def opened(url: str, body: bytes, expected: bytes, rate: float, seconds: float) -> Load:
    """A request each 1/`rate` seconds, whether or not the one before was answered; latency counts from its time."""
    return asyncio.run(_opened(url, body, expected, rate, seconds))


def _wrk(program: str, url: str, body: bytes, expected: bytes, clients: int, seconds: int) -> Load:
    with tempfile.TemporaryDirectory(prefix="xgbpatch-bench-") as folder:
        Path(folder, "body").write_bytes(body)
        Path(folder, "expected").write_bytes(expected)
        script = Path(folder, "script.lua")
        script.write_text(_SCRIPT % folder)
        command = [program, "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "65s", "-s", str(script), url]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        raise XgbpatchError(f"wrk failed: {process.stderr.strip() or process.stdout.strip()}")
    figures = json.loads(process.stdout.strip().splitlines()[-1])
    good = int(figures["requests"]) - int(figures["wrong"])
    return Load(
        max(0, good), figures["wrong"], figures["microseconds"] / 1e6, figures["p50"] / 1e6, figures["p99"] / 1e6, "wrk"
    )


async def _closed(url: str, body: bytes, expected: bytes, clients: int, seconds: float, least: int = 0) -> Load:
    """Ends after `seconds`, and not before there are `least` answers."""
    import aiohttp

    times: list[float] = []
    wrong = 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), trust_env=False) as session:
        begun = time.perf_counter()

        async def client() -> None:
            nonlocal wrong
            while time.perf_counter() < begun + seconds or len(times) + wrong < least:
                start = time.perf_counter()
                if await _ask(session, url, body) == expected:
                    times.append(time.perf_counter() - start)
                else:
                    wrong += 1

        await asyncio.gather(*(client() for _ in range(clients)))
        took = time.perf_counter() - begun
    return _load(times, wrong, took)


async def _opened(url: str, body: bytes, expected: bytes, rate: float, seconds: float) -> Load:
    import aiohttp

    times: list[float] = []
    wrong = 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), trust_env=False) as session:

        async def one(due: float) -> None:
            nonlocal wrong
            if await _ask(session, url, body) == expected:
                times.append(time.perf_counter() - due)
            else:
                wrong += 1

        begun = time.perf_counter()
        tasks = []
        for number in range(max(2, int(rate * seconds))):
            due = begun + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(one(due)))
        await asyncio.gather(*tasks)
        took = time.perf_counter() - begun
    return _load(times, wrong, took)


async def _ask(session: aiohttp.ClientSession, url: str, body: bytes) -> bytes | None:
    """The body of a good answer, else None."""
    import aiohttp

    try:
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
        async with session.post(url, data=body, headers=HEADERS, timeout=timeout) as answer:
            content = await answer.read()
            return content if answer.status == 200 else None
    except (aiohttp.ClientError, asyncio.TimeoutError):
        return None


def _load(times: list[float], wrong: int, seconds: float) -> Load:
    ranks = quantiles(times, n=100, method="inclusive") if len(times) > 1 else [*times, float("nan")] * 99
    return Load(len(times), wrong, seconds, ranks[49], ranks[98], "aiohttp")
