"""Where downloads for stand-in bases are kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder of the user's cache (XDG base directory specification) that holds wheels and Debian packages."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xgbpatch" / "standin"
