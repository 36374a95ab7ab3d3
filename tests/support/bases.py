"""Which bases the tests run on.

`XGBPATCH_TEST_BASE=<image>` (in the local engine) takes the place of the stand-ins; its version is its tag, or
`XGBPATCH_TEST_VERSION`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from functools import cache
from typing import TypeVar

from xgbpatch.reference import ImageReference

TEST_BASE = os.environ.get("XGBPATCH_TEST_BASE", "")
STANDINS = ("1.5-1", "3.2-0")
LONG = bool(os.environ.get("XGBPATCH_TEST_LONG"))
RUN_ID = secrets.token_hex(4)  # in the names of images that tests make: another run, or worker, has others


Case = TypeVar("Case")


@cache  # the same strings each time: pytest keeps a session's fixture while its version is the same object
def versions() -> tuple[str, ...]:
    """The versions under test, oldest first."""
    if not TEST_BASE:
        return STANDINS
    return (os.environ.get("XGBPATCH_TEST_VERSION") or ImageReference.parse(TEST_BASE).tag,)


def chosen() -> tuple[str, ...]:
    """For long tests of what hangs on no version: the newest, or all where XGBPATCH_TEST_LONG asks for them."""
    return versions() if LONG else versions()[-1:]


def dealt(*, oldest: Sequence[Case], newest: Sequence[Case]) -> list[tuple[str, Case]]:
    """(version, case) of long tests that each run on one base; on every base where XGBPATCH_TEST_LONG asks for them."""
    first, last = versions()[0], versions()[-1]
    return [
        (version, case)
        for version in versions()
        for cases, place in ((oldest, first), (newest, last))
        for case in cases
        if LONG or version == place
    ]
