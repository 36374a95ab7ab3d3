"""What the fixes of model files share: one wrapper around the base's loader, and refusal when a model is loaded."""

from __future__ import annotations

import fcntl
import functools
import importlib.util
import logging
import os
import stat
import sys
import termios
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List

from ..model import files

PACKAGE = "sagemaker_xgboost_container"
MODULE = PACKAGE + ".algorithm_mode.serve_utils"
HANDLER = PACKAGE + ".algorithm_mode.handler_service"
REASONS = ("model-formats", "model-missing")  # who explains a failure first

_READ_SECONDS, _LOG_SECONDS = 20.0, 2.0  # at the most until lines are read; from then on, until they are in the log

logger = logging.getLogger(__name__)


def source() -> str:
    """The source of the base's module that loads models; it is not imported, since that loads the model."""
    spec: Any = importlib.util.find_spec(PACKAGE)
    (folder,) = spec.submodule_search_locations
    with open(os.path.join(folder, "algorithm_mode", "serve_utils.py"), encoding="utf-8") as text:
        return text.read()


@dataclass
class Hooks:
    """`checks` are called with a model folder before the base loads it, `reasons` with the folder and what it raised.

    A check raises ModelRefused; a reason is the text of one, or empty.
    """

    checks: List[Callable[[str], None]] = field(default_factory=list)
    reasons: Dict[str, Callable[[str, Exception], str]] = field(default_factory=dict)


def hooks(serve_utils: Any) -> Hooks:
    """The hooks of the base's loader, which is wrapped at the first call."""
    standing = getattr(serve_utils.get_loaded_booster, "hooks", None)
    if standing is None:
        standing = Hooks()
        serve_utils.get_loaded_booster = _hooked(serve_utils.get_loaded_booster, standing)
    return standing


def _hooked(load: Callable[..., Any], on: Hooks) -> Any:
    @functools.wraps(load)
    def get_loaded_booster(model_dir: str, *arguments: Any, **named: Any) -> Any:
        for check in on.checks:
            check(model_dir)
        try:
            return load(model_dir, *arguments, **named)
        except (files.ModelRefused, MemoryError):
            raise
        except Exception as error:
            for name in REASONS:
                reason = on.reasons[name](model_dir, error) if name in on.reasons else ""
                if reason:
                    raise files.ModelRefused(reason) from error
            raise

    hooked: Any = get_loaded_booster
    hooked.hooks = on
    return hooked


def explain(name: str, check: Callable[[str], None], reason: Callable[[str, Exception], str]) -> None:
    """Hang `check` and `reason` (see `Hooks`) of the fix `name` on the base's loader, as soon as it is imported."""

    def hook(serve_utils: Any) -> None:
        standing = hooks(serve_utils)
        standing.reasons[name] = reason
        if check not in standing.checks:
            standing.checks.append(check)

    when_imported(MODULE, hook)
    refuse_when_loaded()


def refuse_when_loaded() -> None:
    """End the worker of a multi-model endpoint that loads a refused model: POST /models then answers 500, not 200.

    The model server passes over what `initialize` raises, but for what is no Exception; it has no words of a worker
    for its answer, so that the log says why.
    """
    when_imported(HANDLER, _refuse_when_loaded)


def _refuse_when_loaded(handler_service: Any) -> None:
    service = handler_service.HandlerService
    initialize = service.initialize
    if getattr(initialize, "refuses", False):
        return

    @functools.wraps(initialize)
    def initializing(self: Any, context: Any) -> None:
        try:
            initialize(self, context)
        except Exception as error:
            refusal = error if isinstance(error, files.ModelRefused) else error.__context__
            if not isinstance(refusal, files.ModelRefused):
                raise
            logger.error("The model is not loaded: %s", refusal)
            _wait_until_read()
            raise SystemExit(1) from None

    refusing: Any = initializing
    refusing.refuses = True
    service.initialize = refusing


def _wait_until_read() -> None:
    """Until the model server has read what was printed: it drops the rest when a worker ends."""
    pipes = [number for number in (1, 2) if stat.S_ISFIFO(os.fstat(number).st_mode)]
    deadline = time.monotonic() + _READ_SECONDS
    while pipes and time.monotonic() < deadline:
        unread = [fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)) for pipe in pipes]
        if not any(map(any, unread)):
            time.sleep(_LOG_SECONDS)
            return
        time.sleep(0.05)


# Work on a module of the base at the moment when it has been imported, and before its importer goes on.


def when_imported(name: str, work: Callable[[Any], None]) -> None:
    """Call `work(module)` once the module `name` has been executed; at once where it is imported already."""
    if name in sys.modules:
        work(sys.modules[name])
    else:
        sys.meta_path.insert(0, _Finder(name, work))


class _Finder(object):
    """Finds one module, once, through the finders after it (`importlib.abc.MetaPathFinder`)."""

    def __init__(self, name: str, work: Callable[[Any], None]):
        self._name = name
        self._work = work

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]  # that of six 1.15 has none
        specs = (finder.find_spec(fullname, path, target) for finder in finders)
        spec: Any = next((spec for spec in specs if spec is not None), None)
        if spec is not None:
            execute = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                execute(module)
                self._work(module)

            spec.loader.exec_module = exec_module
        return spec
