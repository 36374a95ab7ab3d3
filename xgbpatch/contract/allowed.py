"""Which answers of the base a fix may change: those that show its bug, and no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from xgbpatch.contract.exchange import Answer, Request
from xgbpatch.contract.server import MULTI_MODEL, SELECTED, Stack


@dataclass(frozen=True)
class Exchange:
    """A request to the server of `stack`, and what the base answered."""

    stack: Stack
    request: Request
    base: Answer

    def header(self, name: str) -> str:
        return next((value for named, value in self.request.headers if named.lower() == name), "")


def changed_by(exchange: Exchange, fixes: Iterable[str]) -> str:
    """The one of `fixes` that may change the base's answer, or nothing."""
    return next((name for name in sorted(fixes) if name in _RULES and _RULES[name](exchange)), "")


def _shifted(exchange: Exchange) -> bool:
    """A libsvm body in which no index is 0: the base that has the bug reads it shifted, whatever it answers."""
    kind = exchange.header("content-type").partition(";")[0].strip().lower()
    words = exchange.request.body.decode("utf-8", "replace").split()
    indices = [word.partition(":")[0] for word in words if ":" in word]
    asked = exchange.request.path.endswith("/invocations") or exchange.request.path.endswith("/invoke")
    libsvm = kind in ("", "libsvm", "text/libsvm", "text/x-libsvm")
    return asked and libsvm and bool(indices) and all(index.isdecimal() and int(index) > 0 for index in indices)


def _unwritten(exchange: Exchange) -> bool:
    """An answer in a type that the base accepts, and fails to write."""
    asked = exchange.header("accept").lower()
    types = ("application/jsonlines", "application/x-recordio-protobuf")
    return exchange.base.status == 500 and asked in types and exchange.stack is not MULTI_MODEL


def _repeating(exchange: Exchange) -> bool:
    """recordio-protobuf of selected keys."""
    asked = exchange.header("accept").lower() == "application/x-recordio-protobuf"
    return exchange.stack is SELECTED and asked and exchange.base.status == 200


def _unavailable(exchange: Exchange) -> bool:
    """The 503 that a multi-model server answers to every bad request."""
    return exchange.stack is MULTI_MODEL and exchange.base.status == 503


_RULES: dict[str, Callable[[Exchange], bool]] = {
    "libsvm-skew": _shifted,
    "jsonlines-accept": _unwritten,
    "recordio-growth": _repeating,
    "mme-errors": _unavailable,
}
