"""Two answers held against each other, byte for byte."""

from __future__ import annotations

import re

from xgbpatch.contract.exchange import Answer

# Different on every request by their nature.
_VOLATILE_HEADERS = frozenset({"date", "server-timing", "x-request-id", "x-amzn-requestid"})
# Addresses of a C stack and the clock, which xgboost puts in the text of an error.
_VOLATILE_TEXT = re.compile(rb"0x[0-9a-f]+|\[\d\d:\d\d:\d\d\]")
_AROUND = 30
ENGINE_HEADER = "x-xgbpatch-engine"  # of /ping: what the feature daal4py says of itself where it was switched on


def difference(base: Answer, patched: Answer, asked: frozenset[str] = frozenset()) -> str:
    """What differs in status, headers or body, or nothing; a successful body may not differ in a single byte.

    `asked` are headers that a feature adds, and that may stand in `patched` alone.
    """
    if base.status != patched.status:
        return f"status: base {base}, patched {patched}"
    return _headers(base, patched, asked) or _body(base, patched)


def _headers(base: Answer, patched: Answer, asked: frozenset[str]) -> str:
    names = sorted({*base.headers, *patched.headers} - _VOLATILE_HEADERS - (asked - {*base.headers}))
    differing = [name for name in names if _header(base, name) != _header(patched, name)]
    if differing == ["content-length"] and not _body(base, patched):
        return ""  # the text of an error with an address one digit longer
    return "; ".join(f"header {name}: base {_said(base, name)}, patched {_said(patched, name)}" for name in differing)


def _body(base: Answer, patched: Answer) -> str:
    left, right = _comparable(base), _comparable(patched)
    if left == right:
        return ""
    pairs = enumerate(zip(left, right, strict=False))
    shared = next((at for at, (one, other) in pairs if one != other), min(len(left), len(right)))
    window = slice(max(0, shared - _AROUND), shared + _AROUND)
    return f"body from byte {shared}: base {left[window]!r}, patched {right[window]!r}"


def _comparable(answer: Answer) -> bytes:
    return answer.body if answer.status == 200 else _VOLATILE_TEXT.sub(b"0x", answer.body)


def _header(answer: Answer, name: str) -> str | None:
    value = answer.headers.get(name)
    if name == "allow" and value is not None:  # a set, in the order of this process's hash seed
        return ", ".join(sorted(value.split(", ")))
    return value


def _said(answer: Answer, name: str) -> str:
    return f'"{answer.headers[name]}"' if name in answer.headers else "absent"
