"""Where scripts/overlay-tests runs: on the version's Python, in environments that it removes once nobody uses them."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import sys
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from threading import Thread

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


class WithoutFiles(BaseHTTPRequestHandler):
    """Answers 404, and keeps what it was asked for in the server's `paths`."""

    def do_GET(self):
        self.server.paths.append(self.path)
        self.send_error(404)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), WithoutFiles) as server:
        server.paths = []
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def test_a_python_that_the_machine_lacks_is_fetched_by_uv_and_where_it_cannot_be_the_nearest_is_taken(
    script, server, monkeypatch, tmp_path, capsys
):
    version = replace(script.standin_version("1.2-2"), python="3.5")  # no machine has it, nor has uv of its own accord
    monkeypatch.setattr(script, "standin_version", lambda name: version)
    release = {"name": "cpython", "os": "linux", "libc": "gnu", "major": 3, "minor": 5, "patch": 10, "prerelease": ""}
    release |= {"arch": {"family": platform.machine(), "variant": None}, "sha256": "0" * 64, "variant": None}
    release |= {"url": f"http://127.0.0.1:{server.server_address[1]}/python-3.5.tar.gz", "build": "1"}
    releases = tmp_path / "releases.json"
    releases.write_text(json.dumps({f"cpython-3.5.10-linux-{platform.machine()}-gnu": release}))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", str(releases))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "pythons"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    suite = script.suite_of("1.2-2")

    assert set(server.paths) == {"/python-3.5.tar.gz"}
    assert "uv could not fetch Python 3.5: " in capsys.readouterr().err
    assert suite.version is version
    assert suite.interpreter == script.find_interpreter("3.5")
    assert suite.interpreter.minor != "3.5"
