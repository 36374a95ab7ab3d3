"""Writing a text file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write(path: Path, text: str, force: bool) -> None:
    """Raises `FileExistsError` where `path` is there and `force` is not given, and `OSError` as the system does."""
    with tempfile.TemporaryDirectory(prefix=".xgbpatch-", dir=path.parent) as folder:
        part = Path(folder) / path.name
        part.write_text(text, encoding="utf-8")
        part.replace(path) if force else os.link(part, path)  # link() alone refuses an existing name without a race
