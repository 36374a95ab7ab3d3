"""What the lean server answers: as the base does, by its own application or the short way to the same bytes."""

from __future__ import annotations

import asyncio
import re
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Awaitable, Callable, List, Mapping, Optional
from urllib.parse import unquote_to_bytes

from sagemaker_xgboost_container.algorithm_mode import serve

from . import short, wsgi
from .wsgi import Headers, Reply

ROUTES = re.compile(b"/(ping|invocations|execution-parameters)")  # that the base's nginx passes on
NO_ESCAPE = re.compile(b"%(?![0-9a-fA-F]{2})")
QUICK = ("/ping", "/execution-parameters")
GRACE = 0.5  # seconds in which an answer of a timeout goes out before its worker ends
AT_ONCE = 2e-3  # seconds for which the loop may stand still; a longer request goes to a thread
NOWHERE: Reply = (404, [(b"content-type", b"application/octet-stream")], b"{}")
PAGE = (  # of nginx itself
    "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>\r\n<hr><center>{1}</center>\r\n"
    "</body>\r\n</html>\r\n"
)


class Application(object):
    """The application `base`, and `way` where requests may take a shorter one.

    A thread calls the base's, one request at a time, as each of its workers does. `timeout` are seconds that a request
    may take, 0 for ever; gunicorn then starts another worker. `server` is what the answers call their server.
    """

    timeout = 60
    server = "nginx"

    def __init__(self, base: Callable[..., Any], way: Optional[short.ShortWay]):
        self._wsgi = base
        self._way = way
        self._base_thread = Thread()
        self._thread = Thread()

    def __call__(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Any:
        """The base's WSGI function."""
        return self._wsgi(environ, start_response)

    @property
    def hangs(self) -> bool:
        """Whether a thread computes for longer than a request may take; nobody waits for the answer any more."""
        longest = max(self._base_thread.seconds(), self._thread.seconds())
        return bool(self.timeout) and longest > self.timeout + GRACE

    async def asgi(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[..., Any]) -> None:
        """The ASGI application."""
        body = await _body(receive)
        if body is None:
            return
        path = located(scope["raw_path"])
        if path is None:
            await _send(send, self._page("400 Bad Request"), scope, closes=True)
            return
        try:
            reply = await self._reply(path, scope, body)
        except asyncio.TimeoutError:
            reply = self._page("504 Gateway Time-out")
        await _send(send, reply, scope, closes=scope["method"] == "TRACE")

    async def _reply(self, path: bytes, scope: Any, body: bytes) -> Reply:
        """Raises TimeoutError."""
        if scope["method"] == "TRACE":
            return self._page("405 Not Allowed")
        way = self._way if scope["path"] == "/invocations" and scope["method"] == "POST" else None
        reply = None if way is None else await self._short(way, scope["headers"], body)
        if reply is None:
            reply = await self._base(scope, body) if ROUTES.match(path) else NOWHERE
            unproved = way.unproved(scope["headers"]) if way is not None and reply[0] == 200 else None
            if unproved is not None:
                self._base_thread.submit(way.prove, *unproved)  # type: ignore[union-attr]
        return reply

    async def _short(self, way: short.ShortWay, headers: Headers, body: bytes) -> Optional[Reply]:
        if way.reading(len(body)) > AT_ONCE:
            reply: Optional[Reply] = await self._called(self._thread, way.answer, headers, body)
            return reply
        request = way.request(headers, body)
        if request is None or request.seconds <= AT_ONCE:
            return None if request is None else request.answer()
        reply = await self._called(self._thread, request.answer)
        return reply

    async def _base(self, scope: Any, body: bytes) -> Reply:
        environ = wsgi.environ_of(scope, body)
        loaded = serve.ScoringService.booster is not None
        if loaded and scope["path"] in QUICK and scope["method"] in ("GET", "HEAD"):  # whatever else is going on
            return wsgi.called(self._wsgi, environ)
        reply: Reply = await self._called(self._base_thread, wsgi.called, self._wsgi, environ)
        return reply

    async def _called(self, thread: "Thread", function: Callable[..., Any], *arguments: Any) -> Any:
        """What a thread makes of a call; raises TimeoutError. A call that has not begun by then never does."""
        call = asyncio.wrap_future(thread.submit(function, *arguments))
        return await asyncio.wait_for(call, self.timeout or None)

    def _page(self, title: str) -> Reply:
        return int(title[:3]), [(b"content-type", b"text/html")], PAGE.format(title, self.server).encode("latin-1")


class Thread(object):
    """Makes calls one after the other."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1)
        self._begun: Optional[float] = None

    def submit(self, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Make a call when all before it have ended."""
        return self._executor.submit(self._timed, function, *arguments)

    def seconds(self) -> float:
        """For which it has been at the call that it is at, or 0."""
        begun = self._begun
        return 0.0 if begun is None else time.monotonic() - begun

    def _timed(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self._begun = time.monotonic()
        try:
            return function(*arguments)
        finally:
            self._begun = None


def located(raw: bytes) -> Optional[bytes]:
    """The path by which the base's nginx chooses where a request goes, without escapes, dots and doubled slashes.

    None where nginx refuses it: an escape that is none, a zero byte, a way above the root, or no path at all. What is
    passed on is the path as the client wrote it.
    """
    if not raw.startswith(b"/") or NO_ESCAPE.search(raw):
        return None
    names: List[bytes] = []
    for name in unquote_to_bytes(raw).split(b"/"):
        if b"\0" in name or (name == b".." and not names):
            return None
        if name == b"..":
            names.pop()
        elif name not in (b"", b"."):
            names.append(name)
    return b"/" + b"/".join(names)


async def _body(receive: Callable[[], Awaitable[Any]]) -> Optional[bytes]:
    """The whole body, as the base's nginx hands it on; None where the client has gone."""
    parts: List[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        if not parts and not message.get("more_body"):
            body: bytes = message["body"]
            return body
        parts.append(message["body"])
        if not message.get("more_body"):
            return b"".join(parts)


async def _send(send: Callable[..., Any], reply: Reply, scope: Any, closes: bool = False) -> None:
    status, headers, body = reply
    connection = dict(scope["headers"]).get(b"connection", b"").lower()
    closes = closes or b"close" in connection or scope["http_version"] != "1.1"
    headers = headers + [(b"connection", b"close" if closes else b"keep-alive")]
    if status == 204:  # nginx sends no length of nothing
        headers = [(name, value) for name, value in headers if name != b"content-length"]
    elif not any(name == b"content-length" for name, _ in headers):
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
