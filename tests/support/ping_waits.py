"""How long each test waited until a server was ready: the property `ping_seconds` in pytest's JUnit file."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from functools import wraps
from typing import Any

import pytest

from support.standin import served_base
from xgbpatch.contract.server import Server

_waits: list[float] = []


def _timed(wait: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(wait)
    def timed(*arguments: Any, **named: Any) -> Any:
        begun = time.monotonic()
        try:
            return wait(*arguments, **named)
        finally:
            _waits.append(time.monotonic() - begun)

    return timed


def pytest_configure(config: pytest.Config) -> None:
    Server.wait = _timed(Server.wait)  # type: ignore[method-assign]
    served_base.ready = _timed(served_base.ready)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    if call.when == "teardown" and _waits:
        item.user_properties.append(("ping_seconds", round(sum(_waits), 2)))
        _waits.clear()
    return (yield)
