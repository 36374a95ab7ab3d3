"""Whatever stops a command half-way: no container, no half-made name, a clear message and the right exit code."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from support.bases import RUN_ID, versions
from support.commands import command_line, xgbpatch
from xgbpatch.engine.client import Engine
from xgbpatch.reference import ImageReference

REPOSITORY = f"xgbpatch-tests/faults-{RUN_ID}"
DEADLINE_SECONDS = 120


@pytest.fixture
def command(base_of, tmp_path):
    """`xgbpatch build` on a cold cache, so that it starts containers."""
    version = versions()[-1]  # one base is enough: the faults are not the base's
    arguments = ["build", "--base-image", base_of(version), "--version", version, "--region", "us-west-2"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    return [*arguments, "--repository", REPOSITORY], environment


@pytest.fixture(autouse=True)
def no_name_is_left(engine):
    yield
    assert [image for image in engine.images("io.xgbpatch.spec-digest") if REPOSITORY in str(image.tags)] == []


def started(command, engine, environment=None):
    """The command's process, as soon as a container of it runs."""
    arguments, own = command
    process = subprocess.Popen(
        command_line(*arguments), env=environment or own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + DEADLINE_SECONDS
    while not engine.leftovers(process.pid):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_a_signal_leaves_nothing(engine, command, number, code):
    process = started(command, engine)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=DEADLINE_SECONDS)
    assert (process.returncode, stdout) == (code, "")
    assert stderr.strip().endswith("xgbpatch: interrupted")
    assert engine.leftovers(process.pid) == []


def test_what_sigkill_leaves_the_next_command_removes(engine, command):
    process = started(command, engine)
    process.kill()
    process.communicate(timeout=DEADLINE_SECONDS)
    the_next_command_removes_all(engine, process)


def test_an_engine_that_goes_away_is_named(engine, command, tmp_path):
    with cut_off(tmp_path / "docker.sock") as cut:
        process = started(command, engine, {**command[1], "DOCKER_HOST": f"unix://{tmp_path}/docker.sock"})
        cut()
        stdout, stderr = process.communicate(timeout=DEADLINE_SECONDS)
    assert (process.returncode, stdout) == (3, "")
    assert "Traceback" not in stderr
    the_next_command_removes_all(engine, process)


def the_next_command_removes_all(engine, process):
    with Engine.connect():
        pass
    end = time.monotonic() + DEADLINE_SECONDS
    while engine.leftovers(process.pid):  # a command of another run may have begun the removal first
        assert time.monotonic() < end
        time.sleep(0.05)


def test_no_engine_at_all_exits_3_and_says_what_to_do(command, tmp_path):
    arguments, environment = command
    environment["DOCKER_HOST"] = f"unix://{tmp_path}/none.sock"
    result = xgbpatch(*arguments, environment=environment)
    assert result.returncode == 3
    assert "xgbpatch doctor" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_full_disk_under_the_context_exits_7_and_says_where(engine, command, tmp_path):
    """A real one: a file system of 32 KiB."""
    arguments, environment = command
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(small)], check=True)
    try:
        environment["TMPDIR"] = str(small)
        result = xgbpatch(*arguments, environment=environment)
        left = list(small.iterdir())
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert result.returncode == 7, result.stderr
    assert "No space left on device" in result.stderr
    assert str(small) in result.stderr
    assert left == []


def test_a_base_that_vanished_exits_4(command):
    arguments, environment = command
    place = arguments.index("--base-image") + 1
    other_base = [*arguments[:place], str(ImageReference.parse("xgbpatch-tests/none:1")), *arguments[place + 1 :]]
    result = xgbpatch(*other_base, environment=environment)
    assert result.returncode == 4
    assert '"xgbpatch-tests/none:1"' in result.stderr


@contextlib.contextmanager
def cut_off(path: Path):
    """A door to the real engine at `path`; calling what is yielded shuts it and drops every connection."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    pairs: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect("/var/run/docker.sock")
                pairs.extend((near, far))
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=pump, args=(source, target), daemon=True).start()

    def cut() -> None:
        path.unlink(missing_ok=True)
        listener.close()
        for end in pairs:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield cut
    finally:
        cut()


def pump(source: socket.socket, target: socket.socket) -> None:
    """Bytes from one to the other until either ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
