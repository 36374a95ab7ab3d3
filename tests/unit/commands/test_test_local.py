"""`xgbpatch test-local` where no engine answers."""

import os
import subprocess
import sys

COMMAND = (sys.executable, "-m", "xgbpatch", "test-local")


def run(*arguments, **options):
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=300, **options)


def test_list_names_every_check_without_an_engine():
    completed = run("--list", env={**os.environ, "DOCKER_HOST": "unix:///no/such/socket"})
    assert completed.returncode == 0
    assert "multi-model.double-load" in completed.stdout


def test_no_engine_exits_3():
    completed = run("any/image:tag", env={**os.environ, "DOCKER_HOST": "unix:///no/such/socket"})
    assert completed.returncode == 3
