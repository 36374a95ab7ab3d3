"""A running container, as far as the rest of the project needs one."""

from __future__ import annotations

import time
from typing import Any

import requests

from xgbpatch.engine.failures import UNREACHABLE, EngineGoneError, translated
from xgbpatch.errors import EngineError


class Container:
    """A started container. Made and removed by `Engine.container` only."""

    def __init__(self, container: Any) -> None:
        self._container = container

    @property
    def id(self) -> str:
        return str(self._container.id)

    def address(self, port: int) -> str:
        """`127.0.0.1:<published port>` of a port of the container; raises `EngineError` when it is not published."""
        self._reload()
        bindings = self._container.attrs["NetworkSettings"]["Ports"].get(f"{port}/tcp")
        if not bindings:
            raise EngineError(f'port {port} of container "{self.id[:12]}" is not published', "It may have exited.")
        return f"127.0.0.1:{bindings[0]['HostPort']}"

    @property
    def running(self) -> bool:
        self._reload()
        return bool(self._container.attrs["State"]["Running"])

    def wait(self, timeout: float) -> int:
        """The exit code; raises `EngineError` when it still runs after `timeout` seconds."""
        try:
            return int(self._container.wait(timeout=timeout)["StatusCode"])
        except UNREACHABLE as error:  # also in the middle of its answer, whose head comes at once
            late = isinstance(error, (requests.exceptions.ReadTimeout, requests.exceptions.ConnectionError))
            if not late or "timed out" not in str(error):  # a time-out on a socket comes as a ConnectionError
                raise EngineGoneError(f"the engine stopped answering while a container ran: {error}") from error
            raise EngineError(f'container "{self.id[:12]}" did not end within {timeout:g} s') from error

    def stop(self, signal: str, grace: float) -> float | None:
        """Send `signal`; returns the seconds until it ended, or None when it still runs after `grace` seconds."""
        begun = time.monotonic()
        with translated(f"send {signal} to a container"):
            self._container.kill(signal=signal)
        try:
            self.wait(grace)
        except EngineGoneError:
            raise
        except EngineError:
            return None
        return time.monotonic() - begun

    def stdout(self) -> str:
        return self._logs(stdout=True, stderr=False)

    def stderr(self) -> str:
        return self._logs(stdout=False, stderr=True)

    def execute(self, command: list[str]) -> tuple[int, bytes]:
        """Run `command` inside; returns its exit code and its combined output."""
        with translated("run a command in a container"):
            result = self._container.exec_run(command)
        return int(result.exit_code), bytes(result.output or b"")

    def memory(self) -> int:
        """Bytes of memory in use, page cache left out."""
        with translated("measure a container"):
            usage = self._container.stats(stream=False).get("memory_stats", {})
        cached = usage.get("stats", {}).get("inactive_file", 0)
        return max(0, int(usage.get("usage", 0)) - int(cached))

    def _logs(self, stdout: bool, stderr: bool) -> str:
        with translated("read a container's log"):
            return bytes(self._container.logs(stdout=stdout, stderr=stderr)).decode("utf-8", "replace")

    def _reload(self) -> None:
        with translated("look at a container"):
            self._container.reload()
