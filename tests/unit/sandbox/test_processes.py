"""Processes are ended for sure, and no stranger is."""

import sys
import time
from dataclasses import replace

import pytest

from xgbpatch.errors import SandboxError
from xgbpatch.sandbox import state

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
)


def until(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def start(code, log):
    return state.start("child", [sys.executable, "-c", code], {}, log)


def test_process_under_a_reused_number_is_let_be(tmp_path):
    process = start("import time; time.sleep(60)", tmp_path / "log")
    try:
        state.stop([replace(process, started="an-earlier-boot/1")])
        assert state.running(process)
    finally:
        state.stop([process])
    assert not state.running(process)


def test_process_that_ignores_sigterm_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "_GRACE_SECONDS", 0.3)
    process = start(STUBBORN, tmp_path / "log")
    until(lambda: "ready" in state.last_lines(tmp_path / "log"))
    state.stop([process])
    assert not state.running(process)


def test_process_that_ended_by_itself_does_not_run(tmp_path):
    process = start("print('last words')", tmp_path / "log")
    until(lambda: not state.running(process))
    assert state.last_lines(tmp_path / "log") == "last words"
    state.stop([process])


def test_missing_program_is_named(tmp_path):
    with pytest.raises(SandboxError, match="/no/such/program"):
        state.start("child", ["/no/such/program"], {}, tmp_path / "log")
