"""ruff and mypy see the scripts, whose names have no suffix; those that check the code run as CONTRIBUTING.md says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.documentation import run_by

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


@pytest.mark.group("lint")
def test_checks_of_the_code_run_as_the_page_says():
    (checks,) = run_by(__file__, "CONTRIBUTING.md")
    programs = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    completed = subprocess.run(
        ["bash", "-euc", checks.script], cwd=ROOT, env={**os.environ, **programs}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert "0 broken" in completed.stdout
    assert "in root" in completed.stdout
