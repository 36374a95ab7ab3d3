"""TOML from text: the standard library's reader, or its namesake before Python 3.11."""

from __future__ import annotations

import sys
from importlib.resources import files
from typing import Any

if sys.version_info >= (3, 11):
    from tomllib import TOMLDecodeError, loads
else:
    from tomli import TOMLDecodeError, loads

__all__ = ["TOMLDecodeError", "loads", "shipped"]


def shipped(name: str) -> dict[str, Any]:
    """A table of the package's own data folder, such as `versions.toml`."""
    return dict(loads(files("xgbpatch").joinpath("data").joinpath(name).read_text(encoding="utf-8")))
