"""Commands that start at once: forks of one process that has imported what the command line imports.

Each is a process of its own, with its environment, its folder, its signals and its exit code; but a Python that begins
anew imports docker and boto3 for half a second first, and the tests run hundreds of commands. `python command_forks.py`
is the process that is forked: it reads a line of JSON for each order, and answers with one.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

import xgbpatch as xgbpatch_package

_SECONDS = 1500
_PAUSES = (0.005, 0.1)  # from, to: a twentieth of the time that has passed
_READ_AT_START = ("PYTHON", "LANG", "LC_", "LD_", "TZ")  # variables that a running process does not read again
_IMPORTED = ("boto3.session", "docker", "jinja2", "netrc", "requests", "rich.table")
_OTHER_PROGRAMS = ("xgbpatch.__main__", "xgbpatch.overlays", "xgbpatch.sandbox.ecr_api", "xgbpatch.sandbox.ecr_server")


def run(line: Sequence[str], environment: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """`xgbpatch ARGUMENTS` (the script, and what follows it) to its end."""
    if _at_start(environment) == _parent().read_at_start:
        return _parent().run(line, environment, folder)
    return subprocess.run(
        line, env=environment, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=_SECONDS, check=False,
    )  # fmt: skip


def _at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_READ_AT_START)}


class _Parent:
    """The process that is forked."""

    def __init__(self) -> None:
        self.read_at_start = _at_start(os.environ)
        self._folder = tempfile.TemporaryDirectory(prefix="commands-")
        self._lock = threading.Lock()
        self._count = 0
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        atexit.register(self._end)

    def run(
        self, line: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> subprocess.CompletedProcess[str]:
        begun = time.monotonic()
        with self._lock:
            self._count += 1
            streams = [Path(self._folder.name, f"{self._count}-{name}") for name in ("stdout", "stderr")]
        order = {
            "environment": dict(environment),
            "folder": str(folder),
            "line": list(line),
            "streams": list(map(str, streams)),
        }
        pid = self._answer(order)
        try:
            while (code := self._answer({"poll": pid})) is None:
                passed = time.monotonic() - begun
                if passed > _SECONDS:
                    raise subprocess.TimeoutExpired(line, _SECONDS)
                time.sleep(min(_PAUSES[1], max(_PAUSES[0], passed / 20)))
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            raise
        stdout, stderr = (path.read_text(encoding="utf-8", errors="replace") for path in streams)
        return subprocess.CompletedProcess(line, code, stdout, stderr)

    def _answer(self, order: Mapping[str, Any]) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with self._lock:
            stdin.write(json.dumps(order) + "\n")
            stdin.flush()
            return json.loads(stdout.readline())

    def _end(self) -> None:
        self._process.communicate()
        self._folder.cleanup()


_parent = cache(_Parent)


# What follows is the process that is forked.


def _orders(lines: IO[str], answers: IO[str]) -> Mapping[str, Any] | None:
    """Fork for every order, and tell the PID; returns the order in a fork, None in the end."""
    for line in iter(lines.readline, ""):
        order = json.loads(line)
        if "poll" in order:
            pid, status = os.waitpid(order["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                answers.close()
                return order  # type: ignore[no-any-return]
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    return None


def _become(order: Mapping[str, Any]) -> None:
    """Be the command of `order`."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    tempfile.tempdir = None  # which is kept once it is known
    for descriptor, name in enumerate((os.devnull, *order["streams"])):
        opened = os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdin = os.fdopen(0)  # the one before has read ahead
    sys.argv = order["line"]
    from xgbpatch.cli import main

    run_and_end(main)


def _import_all() -> None:
    """What commands import, but for the emulated AWS, which is another program."""
    for module in (*_IMPORTED, *_modules(xgbpatch_package.__path__, "xgbpatch.")):
        importlib.import_module(module)
    gc.freeze()  # so that no fork copies what it only reads


def _modules(folders: Iterable[str], prefix: str) -> Iterator[str]:
    for _, name, is_package in pkgutil.iter_modules(folders, prefix):
        if name not in _OTHER_PROGRAMS:
            yield name
            if is_package:
                yield from _modules([os.path.join(folder, name.rpartition(".")[2]) for folder in folders], f"{name}.")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C of a terminal comes to all
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from support.quick_end import run_and_end

    sys.path[0] = str(Path(sys.executable).parent)
    _import_all()
    _order = _orders(sys.stdin, os.fdopen(os.dup(1), "w"))
    if _order is not None:
        _become(_order)
