"""serve-exit-code and mme-start: how the command `serve` starts its server, and how it ends."""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from typing import Any, Callable, Iterator, Tuple

from sagemaker_xgboost_container import serving

# serve-exit-code: `serve` ends with the exit code of the server process that ended, and says which that was.


REASONS = {3: "gunicorn could not boot a worker", 4: "gunicorn could not load the application"}  # gunicorn.arbiter

logger = logging.getLogger(__name__)


def serve_exit_code_not_needed() -> str:
    """Whether the function that waits for nginx and gunicorn does something with how they ended."""
    source = inspect.getsource(serving.server.start)
    if "os.wait()" not in source:
        return "the base waits for its server in a way that this fix does not know"
    return "the base ends with an exit code of its own" if "sys.exit(" in source or "raise" in source else ""


def install_serve_exit_code() -> None:
    """Watch how the child ends that the base waits for."""
    start = serving.server.start
    module: Any = sys.modules[start.__module__]  # 1.5-1 has a copy of its own
    module.os = _Watching(module.os)
    serving.server.start = _ending(start, module.os)


class _Watching(object):
    """The module `os`; `status` is that of the last child for which it waited."""

    def __init__(self, os: Any):
        self._os = os
        self.status = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._os, name)

    def wait(self) -> Tuple[int, int]:
        """As `os.wait`: (pid, status)."""
        pid, self.status = self._os.wait()
        return pid, self.status

    @property
    def code(self) -> int:
        """The exit code of that child as a shell says it: 128 and the signal's number for one that was killed."""
        killed = self._os.WIFSIGNALED(self.status)
        code: int = 128 + self._os.WTERMSIG(self.status) if killed else self._os.WEXITSTATUS(self.status)
        return code


def _ending(start: Callable[..., Any], watching: Any) -> Callable[..., None]:
    """`start`, after which the process ends with the code of the child whose end made `start` return."""

    @functools.wraps(start)
    def started(*arguments: Any, **named: Any) -> None:
        start(*arguments, **named)
        if watching.code:
            reason = REASONS.get(watching.code, "nginx or gunicorn failed")
            logger.error("The server ended with exit code %d: %s", watching.code, reason)
            sys.exit(watching.code)

    return started


# mme-start: the model server is found whether or not the launcher that started it has ended by then.


def mme_start_not_needed() -> str:
    """Whether the base passes over processes that have ended, as the inference toolkit does from 1.10.1 on."""
    from sagemaker_xgboost_container.mms_patch import model_server  # of multi-model endpoints

    source = inspect.getsource(model_server._retrieve_mms_server_process)
    if "psutil.process_iter()" not in source:
        return "the base looks for its model server in a way that this fix does not know"
    return "the base passes over processes that have ended" if "ZOMBIE" in source else ""


def install_mme_start() -> None:
    """Show the base the processes that live: psutil from 5.9.6 on raises an error where it asks one that has ended."""
    from sagemaker_xgboost_container.mms_patch import model_server

    launcher: Any = sys.modules[model_server._retrieve_mms_server_process.__module__]
    launcher.psutil = _Living(launcher.psutil)


class _Living(object):
    """The module `psutil`, without processes that have ended and that nobody has waited for."""

    def __init__(self, psutil: Any):
        self._psutil = psutil

    def __getattr__(self, name: str) -> Any:
        return getattr(self._psutil, name)

    def process_iter(self) -> Iterator[Any]:
        """As `psutil.process_iter`; one that ends meanwhile is an error there too, and the base looks again."""
        return (each for each in self._psutil.process_iter() if each.status() != self._psutil.STATUS_ZOMBIE)
