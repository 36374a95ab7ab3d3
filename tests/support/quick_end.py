"""How a fork ends: as Python ends a program, without the clearing away, which would first copy all that it clears."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable


def run_and_end(program: Callable[[], object]) -> None:
    """Does not return, unless by an exception that Python itself should show."""
    code = 0
    try:
        program()
    except SystemExit as ending:
        code = _code(ending)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code & 0xFF)


def _code(ending: SystemExit) -> int:
    if ending.code is None or isinstance(ending.code, int):
        return ending.code or 0
    print(ending.code, file=sys.stderr)
    return 1
