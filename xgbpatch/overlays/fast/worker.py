"""The lean server: a worker of gunicorn that runs uvicorn, with httptools and uvloop.

gunicorn stays what it is in the base: it binds, keeps the number of workers, ends one that hangs, passes SIGTERM on.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import subprocess
from typing import Any

import uvicorn
import uvloop
from gunicorn.workers import base
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

KEEP_ALIVE = 3  # seconds, of the base's nginx
PATIENCE = 60  # seconds for which the base's nginx waits for a whole header, or for more of a body


class Protocol(HttpToolsProtocol):
    """A connection. One whose client stops in the middle of a request is closed without an answer, as by nginx."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._incomplete, self._heard = True, self.loop.time()
        self._timer = self.loop.call_later(PATIENCE, self._check)

    def connection_lost(self, exc: Any) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._incomplete, self._heard = True, self.loop.time()
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        self._heard = self.loop.time()
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._incomplete = False
        super().on_message_complete()

    def _check(self) -> None:
        """One timer a connection costs nothing; one a request would cost as much as the server itself."""
        waits = self._incomplete and not self.flow.read_paused
        rest = self._heard + PATIENCE - self.loop.time() if waits else PATIENCE
        if rest <= 0:
            self.transport.close()
        else:
            self._timer = self.loop.call_later(rest, self._check)


class Worker(base.Worker):
    """One process of the server. Its WSGI application is an `application.Application`."""

    @classmethod
    def setup(cls) -> None:
        """Called once by gunicorn, before there are workers."""
        server_name()

    def run(self) -> None:
        """Serve until gunicorn says SIGTERM; requests in flight are finished."""
        self.wsgi.timeout, self.wsgi.server = self.cfg.timeout, server_name()
        loop = uvloop.new_event_loop()
        asyncio.set_event_loop(loop)
        config = uvicorn.Config(
            self.wsgi.asgi,
            http=Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            headers=[("Server", server_name())],
            timeout_keep_alive=KEEP_ALIVE,
            callback_notify=self._notified,
            timeout_notify=1,
        )
        self._server: Any = uvicorn.Server(config)
        self._server.install_signal_handlers = lambda: None  # of older releases; newer ones have `_serve` without
        loop.add_signal_handler(signal.SIGTERM, self._end)
        for number in (signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(number, self.handle_quit, number, None)
        serve = getattr(self._server, "_serve", self._server.serve)
        loop.run_until_complete(serve(sockets=[getattr(each, "sock", each) for each in self.sockets]))

    def _end(self) -> None:
        self.alive = False
        self._server.should_exit = True

    async def _notified(self) -> None:
        """Tell gunicorn that this worker lives; one that hangs, or whose gunicorn has gone, ends."""
        self.notify()
        if self.wsgi.hangs:  # a thread cannot be ended
            self.log.critical("A request takes more than %s s: this worker ends", self.wsgi.timeout)
            os._exit(1)
        if os.getppid() != self.ppid:
            self._end()


@functools.lru_cache(maxsize=None)
def server_name() -> str:
    """What the base's answers call their server."""
    try:
        output = subprocess.run(["nginx", "-v"], stderr=subprocess.PIPE, timeout=30, check=True).stderr
    except (OSError, subprocess.SubprocessError):
        return "nginx"
    return output.decode("latin-1").rpartition(":")[2].split()[0]
