"""Debian's docker-registry for tests: the machine's own, or fetched once for this process and removed with it."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from xgbpatch.progress import Silent
from xgbpatch.sandbox.program import find_registry


@cache
def registry_program() -> str:
    folder = Path(tempfile.mkdtemp(prefix="xgbpatch-tests-registry-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return find_registry(folder / "package", Silent())
