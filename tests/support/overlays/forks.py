"""Python programs that start at once: forks of one process that has imported the packages which the base imports.

That process knows packages of others alone. Nothing of the base's source, of its toolkit (which reads the environment
when it is imported) or of the overlays is in it, so that a fork begins as a new Python does with all of these. What
depends on the order of imports (gevent's patches come first in an image) belongs into a process that is not forked.

`python forks.py` is that process: it reads a line of JSON for each order, and answers with one.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

TESTS = str(Path(__file__).resolve().parents[2])
IMPORTED = (
    "boto3.s3.transfer",
    "flask",
    "google.protobuf.reflection",
    "gunicorn.app.wsgiapp",
    "gunicorn.workers.ggevent",
    "inotify_simple",
    "numpy.testing",
    "pandas",
    "paramiko",
    "pkg_resources",
    "psutil",
    "requests",
    "retrying",
    "scipy.sparse",
    "setuptools",
    "sklearn.metrics",
    "sklearn.model_selection",
    "xgboost",
)


class Fork:
    """A process that was started; its text is in the files `stdout` and `stderr`."""

    def __init__(self, pid: int, stdout: Path, stderr: Path) -> None:
        self.pid, self.stdout, self.stderr = pid, stdout, stderr
        self._code: Optional[int] = None

    def poll(self) -> Optional[int]:
        """The exit code, as `subprocess` counts it; None while the process runs."""
        if self._code is None:
            self._code = _parent().answer({"poll": self.pid})
        return self._code

    def wait(self, timeout: float = 120) -> int:
        """The exit code; raises TimeoutExpired after that many seconds."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.01)
        return self._code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Parent:
    """The process that is forked, started when it is first needed."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="forks-")
        self._count = 0
        known = dict(os.environ, PYTHONHASHSEED="0", OMP_WAIT_POLICY="PASSIVE")  # idle threads that spin stop others
        command = [sys.executable, "-W", "ignore", __file__]
        self._process = subprocess.Popen(
            command, env=known, stdin=subprocess.PIPE, stdout=subprocess.PIPE, universal_newlines=True
        )
        atexit.register(self.end)

    def answer(self, order: Dict[str, Any]) -> Any:
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def file(self, name: str) -> Path:
        self._count += 1
        return Path(self._folder.name, f"{self._count}-{name}")

    def end(self) -> None:
        self._process.stdin.close()
        self._process.wait(60)
        self._folder.cleanup()


_parent = functools.lru_cache(maxsize=None)(_Parent)


def start(
    source: str,
    *arguments: str,
    environment: Optional[Mapping[str, str]] = None,
    stdin: str = os.devnull,
    stdout: Optional[Path] = None,
    stderr: Optional[Path] = None,
) -> Fork:
    """`python -W ignore -c SOURCE ARGUMENTS`; streams are files, and without `environment` this process's is taken."""
    parent = _parent()
    files = stdout or parent.file("stdout"), stderr or parent.file("stderr")
    order = {
        "source": source,
        "arguments": ["-c", *arguments],
        "environment": dict(os.environ if environment is None else environment),
        "streams": [stdin, *map(str, files)],
    }
    return Fork(parent.answer(order), *files)


def run(source: str, *arguments: str, timeout: float = 120, **options: Any) -> "subprocess.CompletedProcess[str]":
    """What became of `start`; raises TimeoutExpired, and leaves no process."""
    fork = start(source, *arguments, **options)
    try:
        code = fork.wait(timeout)
    finally:
        fork.kill()
    return subprocess.CompletedProcess(["-c", *arguments], code, fork.stdout.read_text(), fork.stderr.read_text())


def _serve() -> Optional[Dict[str, Any]]:
    """Fork for every order: the order in a fork, None in the end."""
    answers = os.fdopen(os.dup(1), "w")
    for line in iter(sys.stdin.readline, ""):
        order = json.loads(line)
        if "poll" in order:
            answer = _poll(order["poll"])
        else:
            answer = os.fork()
            if answer == 0:
                os.close(answers.fileno())
                return order
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    return None


def _poll(pid: int) -> Optional[int]:
    process, status = os.waitpid(pid, os.WNOHANG)
    if not process:
        return None
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _become(order: Dict[str, Any]) -> None:
    """Be the program of `order`."""
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.path[1:1] = [
        path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path not in sys.path
    ]
    flags = (os.O_RDONLY, *[os.O_WRONLY | os.O_CREAT | os.O_APPEND] * 2)
    for descriptor, name, flag in zip((0, 1, 2), order["streams"], flags):
        opened = os.open(name, flag, 0o644)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdin = os.fdopen(0)  # the one before has read ahead
    sys.argv = order["arguments"]
    program = type(sys)("__main__")
    sys.modules["__main__"] = program
    code = compile(order["source"], "<string>", "exec")
    run_and_end(functools.partial(exec, code, vars(program)))


if __name__ == "__main__":
    sys.path[0] = TESTS
    from support.quick_end import run_and_end

    for module in IMPORTED:
        importlib.import_module(module)
    gc.freeze()  # so that no fork copies what it only reads
    chosen = _serve()
    if chosen is not None:
        _become(chosen)
