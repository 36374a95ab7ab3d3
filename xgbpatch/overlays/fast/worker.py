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
            http=HttpToolsProtocol,
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
        """Tell gunicorn that this worker lives; one whose gunicorn has gone ends."""
        self.notify()
        if os.getppid() != self.ppid:
            self._end()


@functools.lru_cache(maxsize=None)
def server_name() -> str:
    """What the base's answers call their server."""
    try:
        said = subprocess.run(["nginx", "-v"], stderr=subprocess.PIPE, timeout=30, check=True).stderr
    except (OSError, subprocess.SubprocessError):
        return "nginx"
    return said.decode("latin-1").rpartition(":")[2].split()[0]
