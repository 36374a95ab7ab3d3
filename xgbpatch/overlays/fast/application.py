"""What the lean server answers: as the base does, by its own application or the short way to the same bytes."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Awaitable, Callable, Mapping, Optional

from sagemaker_xgboost_container.algorithm_mode import serve

from . import short, wsgi
from .wsgi import Headers, Reply

ROUTES = re.compile("/+(ping|invocations|execution-parameters)")  # that the base's nginx passes on; it merges slashes
QUICK = ("/ping", "/execution-parameters")
BODY_SECONDS = 60  # that the base's nginx waits for more of a request
AT_ONCE = 2e-3  # seconds for which the loop may stand still; a longer request goes to a thread
NOWHERE: Reply = (404, [(b"content-type", b"application/octet-stream")], b"{}")
PAGE = (  # of nginx itself
    "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>\r\n<hr><center>{1}</center>\r\n"
    "</body>\r\n</html>\r\n"
)

logger = logging.getLogger(__name__)


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
        self._base_thread = ThreadPoolExecutor(1)
        self._thread = ThreadPoolExecutor(1)

    def __call__(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Any:
        """The base's WSGI function."""
        return self._wsgi(environ, start_response)

    async def asgi(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[..., Any]) -> None:
        """The ASGI application."""
        try:
            body = await _body(receive)
        except asyncio.TimeoutError:
            await _send(send, self._page("408 Request Time-out"), scope, closes=True)
            return
        if body is None:
            return
        reply = None
        if self._way is not None and scope["path"] == "/invocations" and scope["method"] == "POST":
            reply = await self._short(self._way, scope["headers"], body)
        if scope["method"] == "TRACE":
            reply = self._page("405 Not Allowed")
        elif reply is None:
            reply = await self._base(scope, body) if ROUTES.match(scope["path"]) else NOWHERE
        await _send(send, reply, scope, closes=scope["method"] == "TRACE")

    async def _short(self, way: short.ShortWay, headers: Headers, body: bytes) -> Optional[Reply]:
        seconds = way.seconds(len(body))
        if seconds <= AT_ONCE:
            return way.answer(headers, body)
        return await asyncio.get_event_loop().run_in_executor(self._thread, way.answer, headers, body)

    async def _base(self, scope: Any, body: bytes) -> Reply:
        environ = wsgi.environ_of(scope, body)
        loaded = serve.ScoringService.booster is not None
        if loaded and scope["path"] in QUICK and scope["method"] in ("GET", "HEAD"):  # whatever else is going on
            return wsgi.called(self._wsgi, environ)
        call = asyncio.get_event_loop().run_in_executor(self._base_thread, wsgi.called, self._wsgi, environ)
        try:
            return await asyncio.wait_for(asyncio.shield(call), self.timeout or None)
        except asyncio.TimeoutError:
            logger.critical("A request took more than %s s: this worker ends", self.timeout)
            asyncio.get_event_loop().call_later(0.5, os._exit, 1)  # a thread cannot be ended
            return self._page("504 Gateway Time-out")

    def _page(self, title: str) -> Reply:
        return int(title[:3]), [(b"content-type", b"text/html")], PAGE.format(title, self.server).encode("latin-1")


async def _body(receive: Callable[[], Awaitable[Any]]) -> Optional[bytes]:
    """The whole body, as the base's nginx hands it on; None where the client has gone. Raises TimeoutError."""
    message = await _received(receive)
    if message["type"] == "http.disconnect":
        return None
    if not message.get("more_body"):
        body: bytes = message["body"]
        return body
    parts = [message["body"]]
    while message.get("more_body"):
        message = await _received(receive)
        if message["type"] == "http.disconnect":
            return None
        parts.append(message["body"])
    return b"".join(parts)


async def _received(receive: Callable[[], Awaitable[Any]]) -> Any:
    """The next part of a request; `asyncio.wait_for` would cost as much again as the server itself."""
    task: Any = asyncio.current_task()
    timer = asyncio.get_event_loop().call_later(BODY_SECONDS, task.cancel)
    try:
        return await receive()
    except asyncio.CancelledError:
        raise asyncio.TimeoutError from None
    finally:
        timer.cancel()


async def _send(send: Callable[..., Any], reply: Reply, scope: Any, closes: bool = False) -> None:
    status, headers, body = reply
    wanted = dict(scope["headers"]).get(b"connection", b"").lower()
    closes = closes or b"close" in wanted or scope["http_version"] != "1.1"
    headers = headers + [(b"connection", b"close" if closes else b"keep-alive")]
    if status == 204:  # nginx sends no length of nothing
        headers = [(name, value) for name, value in headers if name != b"content-length"]
    elif not any(name == b"content-length" for name, _ in headers):
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
