"""Which bases the tests run on.

`XGBPATCH_TEST_BASE=<image>` (in the local engine) takes the place of the stand-ins; its version is its tag, or
`XGBPATCH_TEST_VERSION`.
"""

from __future__ import annotations

import os
import secrets

from xgbpatch.reference import ImageReference

TEST_BASE = os.environ.get("XGBPATCH_TEST_BASE", "")
STANDINS = ("1.5-1", "3.2-0")
RUN_ID = secrets.token_hex(4)  # in the names of images that tests make: another run, or worker, has others


def versions() -> tuple[str, ...]:
    """The versions under test, oldest first."""
    if not TEST_BASE:
        return STANDINS
    return (os.environ.get("XGBPATCH_TEST_VERSION") or ImageReference.parse(TEST_BASE).tag,)


def chosen() -> tuple[str, ...]:
    """For long tests of what hangs on no version: the newest, or all where XGBPATCH_TEST_LONG asks for them."""
    return versions() if os.environ.get("XGBPATCH_TEST_LONG") else versions()[-1:]
