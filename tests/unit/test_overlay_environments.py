"""scripts/overlay-tests removes environments that nobody uses any more, and none that somebody does."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CURRENT = "3.2-0-000000000000"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(ROOT / ".venv"))  # else it moves this process to the Python there
    loader = SourceFileLoader("overlay_tests", str(ROOT / "scripts" / "overlay-tests"))
    spec = spec_from_loader(loader.name, loader)
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, loader.name, module)
    loader.exec_module(module)
    return module


@pytest.fixture
def environment(tmp_path):
    def make(name, days):
        (tmp_path / name).mkdir()
        (tmp_path / name / "complete").touch()
        lock = tmp_path / f"{name}.lock"
        lock.touch()
        os.utime(lock, (time.time() - days * 86400,) * 2)
        return lock

    return make


def left(folder):
    return {path.name for path in folder.iterdir() if path.is_dir()}


def test_what_nobody_uses_goes_and_all_else_stays(script, environment, tmp_path):
    stays = [(CURRENT, 13), ("3.2-0-00000000000a", 0.9), ("1.5-1-00000000000b", 13), ("other", 100)]
    goes = [("3.2-0-00000000000c", 1.1), ("1.5-1-00000000000d", 14.1), ("1.2-2-00000000000e", 100)]
    for name, days in (*stays, *goes):
        environment(name, days)
    (tmp_path / "bench-models").mkdir()
    script.remove_unused(tmp_path, {CURRENT})
    assert left(tmp_path) == {"bench-models", *(name for name, _ in stays)}


def test_an_environment_that_another_clone_waits_for_stays(script, environment, tmp_path):
    with environment("3.2-0-00000000000c", 100).open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        script.remove_unused(tmp_path, {CURRENT})
    assert left(tmp_path) == {"3.2-0-00000000000c"}


def test_use_keeps_an_environment_for_another_day(script, environment, tmp_path):
    with script.alone(environment("3.2-0-00000000000c", 100)):
        pass
    script.remove_unused(tmp_path, {CURRENT})
    assert left(tmp_path) == {"3.2-0-00000000000c"}


def test_every_file_of_the_suite_is_in_one_part(script):
    files = [path for part in script.PARTS for path in part if path.endswith(".py")]
    tests = [*(ROOT / "tests/overlays").glob("test_*.py"), *(ROOT / "tests/standin").glob("test_known_bugs_*.py")]
    assert sorted(files) == sorted(map(str, tests))
