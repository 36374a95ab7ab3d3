"""One request to a container's server and its answer, as values."""

from __future__ import annotations

import json
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
