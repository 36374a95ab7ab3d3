"""One request to a container's server, its answer, and how two answers differ."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xgbpatch.contract.model import Violation

_TIMEOUT_SECONDS = (3, 60)  # SageMaker gives an invocation 60 s


@dataclass(frozen=True)
class Request:
    """An HTTP request; only `headers` are sent, apart from those HTTP itself needs."""

    method: str = "GET"
    path: str = "/invocations"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def __str__(self) -> str:
        headers = "".join(f", {name} {value}" for name, value in self.headers)
        shown = f", {len(self.body)} bytes {_excerpt(self.body)}" if self.body else ""
        return f"{self.method} {self.path}{headers}{shown}"


@dataclass(frozen=True)
class Answer:
    """Status, headers under lower-case names, and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __str__(self) -> str:
        return f"{self.status} {_excerpt(self.body)}"

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON; raises `Violation` where it is none."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Violation(f"answered {self}, which is no JSON") from error


def invocation(body: bytes, content_type: str = "", accept: str = "") -> Request:
    """A POST of `body` to /invocations; an empty type or accept sends no such header."""
    named = (("Content-Type", content_type), ("Accept", accept))
    return Request("POST", "/invocations", tuple((name, value) for name, value in named if value), body)


def send(address: str, request: Request) -> Answer:
    """Ask the server at `host:port` over a connection of its own, without retries; raises `Violation` on silence."""
    import requests

    with requests.Session() as session:
        session.trust_env = False  # a proxy of the user's must not stand between loopback and us
        session.headers.clear()
        try:
            response = session.request(
                request.method, f"http://{address}{request.path}", headers=dict(request.headers),
                data=request.body or None, timeout=_TIMEOUT_SECONDS, allow_redirects=False,
            )  # fmt: skip
        except requests.RequestException as error:
            raise Violation(f"{request}: no answer ({type(error).__name__})") from error
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, headers, response.content)


def _excerpt(body: bytes, limit: int = 120) -> str:
    text = body[: limit + 1].decode("utf-8", "replace")
    return repr(text if len(text) <= limit else text[:limit] + "…")


# Two answers held against each other, byte for byte.


# Different on every request by their nature.
_VOLATILE_HEADERS = frozenset({"date", "server-timing", "x-request-id", "x-amzn-requestid"})
# Addresses of a C stack and the clock, which xgboost puts in the text of an error.
_VOLATILE_TEXT = re.compile(rb"0x[0-9a-f]+|\[\d\d:\d\d:\d\d\]")
_AROUND = 30
ENGINE_HEADER = (
    "x-xgbpatch-engine"  # of /ping, where an engine was asked for: `daal4py; why`, of an ensemble `daal4py 3; why`
)


def difference(base: Answer, patched: Answer, added: frozenset[str] = frozenset()) -> str:
    """What differs in status, headers or body, or nothing; a successful body may not differ in a single byte.

    `added` are headers that a feature adds, and that may stand in `patched` alone.
    """
    if base.status != patched.status:
        return f"status: base {base}, patched {patched}"
    left, right = _comparable(base), _comparable(patched)
    names = sorted({*base.headers, *patched.headers} - _VOLATILE_HEADERS - (added - {*base.headers}))
    differing = [name for name in names if _header(base, name) != _header(patched, name)]
    # The text of an error may have an address one digit longer.
    if differing and not (differing == ["content-length"] and left == right):
        return "; ".join(
            f"header {name}: base {_quoted(base, name)}, patched {_quoted(patched, name)}" for name in differing
        )
    if left == right:
        return ""
    pairs = enumerate(zip(left, right, strict=False))
    shared = next((at for at, (one, other) in pairs if one != other), min(len(left), len(right)))
    window = slice(max(0, shared - _AROUND), shared + _AROUND)
    return f"body from byte {shared}: base {left[window]!r}, patched {right[window]!r}"


def _comparable(answer: Answer) -> bytes:
    return answer.body if answer.status == 200 else _VOLATILE_TEXT.sub(b"0x", answer.body)


def _header(answer: Answer, name: str) -> str | None:
    value = answer.headers.get(name)
    if name == "allow" and value is not None:  # a set, in the order of this process's hash seed
        return ", ".join(sorted(value.split(", ")))
    return value


def _quoted(answer: Answer, name: str) -> str:
    return f'"{answer.headers[name]}"' if name in answer.headers else "absent"
