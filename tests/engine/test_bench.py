"""`xgbpatch bench` on a real engine."""

import signal
import subprocess
import sys
import time

import pytest

from support.bases import chosen

pytestmark = pytest.mark.parametrize("version", chosen(), scope="session")


def test_an_interrupted_run_leaves_no_container(engine, base_of, version, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # so that it begins with the training of the model
    command = [sys.executable, "-m", "xgbpatch", "bench", base_of(version), "--quick", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 300
        while not engine.leftovers(process.pid) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        begun = engine.leftovers(process.pid)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=300)
    assert begun
    assert process.returncode == 130
    assert engine.leftovers(process.pid) == []
