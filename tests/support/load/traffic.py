"""Many clients at once against one server: each posts, reads, checks the answer byte by byte, and posts again."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

NEVER = float("inf")
ANSWER_SECONDS = 65  # SageMaker gives an invocation 60


@dataclass(frozen=True)
class Exchange:
    """A request's bytes on the wire, and the body that must come back with a 200."""

    request: bytes
    expected: bytes


@dataclass(frozen=True)
class Outcome:
    """What became of one request. `kind` is "200", another status, "other bytes", or how the connection broke."""

    begun: float
    written: float
    ended: float
    kind: str


@dataclass
class Record:
    """Everything that happened, and when it began (`time.monotonic`)."""

    begun: float
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return max((outcome.ended for outcome in self.outcomes), default=self.begun) - self.begun

    @property
    def kinds(self) -> Counter[str]:
        return Counter(outcome.kind for outcome in self.outcomes)

    def percentile(self, share: float) -> float:
        """Milliseconds that `share` of the good answers took at most."""
        took = sorted(1000 * (each.ended - each.begun) for each in self.outcomes if each.kind == "200")
        return took[min(len(took) - 1, int(share * len(took)))] if took else float("nan")

    def in_flight(self, moment: float, margin: float) -> list[Outcome]:
        """Requests wholly on the wire `margin` seconds before `moment`, and not answered at it."""
        return [each for each in self.outcomes if each.written + margin < moment < each.ended]


def post(path: str, body: bytes, content_type: str = "text/csv", accept: str = "text/csv") -> bytes:
    """A POST as bytes; the connection is kept."""
    head = f"POST {path} HTTP/1.1\r\nHost: endpoint\r\nContent-Type: {content_type}\r\nAccept: {accept}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Traffic:
    """`clients` clients on `address` ("host:port") that ask `each` times, or until the end; `stop` ends them sooner."""

    def __init__(self, address: str, exchanges: Sequence[Exchange], clients: int, *, each: float = NEVER) -> None:
        self._host, _, port = address.partition(":")
        self._port = int(port)
        self._exchanges = exchanges
        self._clients = clients
        self._each = each
        self._stopped = False
        self._open: dict[int, _Connection] = {}
        self.record = Record(time.monotonic())

    def run(self, seconds: float) -> Record:
        """Blocks; may run in a thread of its own."""
        self.record.begun = time.monotonic()
        asyncio.run(self._all(self.record.begun + seconds))
        return self.record

    def stop(self) -> None:
        """Let every client end after the request it is in."""
        self._stopped = True

    def waiting(self, seconds: float) -> int:
        """How many requests have been on the wire for `seconds` and have no answer yet."""
        now = time.monotonic()
        return sum(each.waits and each.written + seconds < now for each in list(self._open.values()))

    async def _all(self, end: float) -> None:
        await asyncio.gather(*(self._client(number, end) for number in range(self._clients)))

    async def _client(self, number: int, end: float) -> None:
        connection: _Connection | None = None
        client = number
        while number < client + self._each and time.monotonic() < end and not self._stopped:
            exchange = self._exchanges[number % len(self._exchanges)]
            number += 1
            begun = time.monotonic()
            connection = self._open[client] = connection or _Connection(self._host, self._port)
            kind = await connection.ask(exchange)
            self.record.outcomes.append(Outcome(begun, connection.written, time.monotonic(), kind))
            if connection.over:
                await connection.close()
                connection = None
            if kind in ("refused", "reset"):
                await asyncio.sleep(0.05)
        if connection:
            await connection.close()


class _Connection:
    """One keep-alive connection. A server may close one that was used before; the request then gets a new one."""

    def __init__(self, host: str, port: int) -> None:
        self._where = (host, port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.over = False
        self.waits = False
        self.written = NEVER

    async def ask(self, exchange: Exchange) -> str:
        self.written = NEVER
        used = self._streams is not None
        kind = await self._guarded(exchange)
        if used and kind in ("reset", "closed"):
            await self.close()
            kind = await self._guarded(exchange)
        self.over = self.over or kind not in ("200", "other bytes")
        return kind

    async def _guarded(self, exchange: Exchange) -> str:
        try:
            return await asyncio.wait_for(self._asked(exchange), ANSWER_SECONDS)
        except asyncio.TimeoutError:
            return "no answer"
        except asyncio.IncompleteReadError as error:
            return "cut off" if error.partial else "closed"
        except ConnectionRefusedError:
            return "refused"
        except OSError:
            return "reset"
        finally:
            self.waits = False

    async def _asked(self, exchange: Exchange) -> str:
        self._streams = self._streams or await asyncio.open_connection(*self._where, limit=2**24)
        reader, writer = self._streams
        writer.write(exchange.request)
        await writer.drain()
        self.written = time.monotonic()
        self.waits = True
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        body = await _body(reader, head)
        self.over = "connection: close" in head
        status = head.split(" ", 2)[1]
        return "other bytes" if status == "200" and body != exchange.expected else status

    async def close(self) -> None:
        if self._streams:
            self._streams[1].close()
        self._streams = None


async def _body(reader: asyncio.StreamReader, head: str) -> bytes:
    fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    if fields.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(fields.get("content-length", 0)))
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")
    return body
