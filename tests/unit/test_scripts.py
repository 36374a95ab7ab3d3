"""ruff and mypy see the scripts, whose names have no suffix."""

from __future__ import annotations

import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
TOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]


def test_ruff_and_mypy_check_every_python_script():
    scripts = {
        f"scripts/{path.name}"
        for path in (ROOT / "scripts").iterdir()
        if path.is_file() and (path.suffix == ".py" or b"python" in path.read_bytes().splitlines()[0])
    }
    assert set(TOOLS["ruff"]["extend-include"]) == scripts
    assert set(TOOLS["mypy"]["files"]) - {"xgbpatch"} == scripts
