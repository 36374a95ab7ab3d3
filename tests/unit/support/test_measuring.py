"""The benchmark measures known work correctly, and reports an aim as met or as missed."""

import os
import socket
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from support.bench import grounds, measuring, report
from support.bench.measuring import Command, Figures, Meter
from support.bench.ways import Step

MIB = 1 << 20
BYTES = "bytes sent at most 5 % above overlay, configuration and manifest"
FIGURES = Figures(seconds=0.5, sent=0, received=0, memory=100, written=0, engine_memory=0, engine_written=0)


def python(code, *arguments):
    return Command([sys.executable, "-c", code, *map(str, arguments)])


def test_bytes_are_counted_in_both_directions():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with connection:
                while connection.recv(1 << 16):
                    pass
                connection.sendall(bytes(3 * MIB))

        Thread(target=answer, daemon=True).start()
        with measuring.counted(server.getsockname()[1]) as proxy:
            code = (
                "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); "
                "s.sendall(bytes(2 << 20)); s.shutdown(socket.SHUT_WR); "
                "print(len(b''.join(iter(lambda: s.recv(65536), b''))))"
            )
            meter = Meter(os.environ, [proxy])
            figures = meter.measure([python(code, proxy.host.partition(":")[2])])
    assert meter.outputs == [str(3 * MIB)]
    assert (figures.sent, figures.received) == (2 * MIB, 3 * MIB)


@pytest.mark.parametrize("below", [False, True], ids=["itself", "a-child"])
def test_memory_of_a_command_and_its_children(below, tmp_path, monkeypatch):
    """The command ends when a look has come upon its memory."""
    enough, look = tmp_path / "enough", measuring.Watch.look

    def looks(watch, begin=False):
        look(watch, begin)
        if watch.memory > 120 * MIB:
            enough.touch()

    monkeypatch.setattr(measuring.Watch, "look", looks)
    hold = f"""
import os, time
held = bytearray(120 << 20)
held[::4096] = bytes(len(held[::4096]))
end = time.monotonic() + 120
while not os.path.exists({str(enough)!r}) and time.monotonic() < end:
    time.sleep(0.02)
"""
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])" if below else hold
    ours = bytearray(300 << 20)
    ours[::4096] = bytes(len(ours[::4096]))
    memory = Meter(os.environ, []).measure([python(code)]).memory
    assert 120 * MIB < memory < 180 * MIB


@pytest.fixture
def on_disk():
    """A folder on a disk, whose writes Linux counts; those of a temporary folder in memory it does not."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        yield Path(folder)


def test_writes_of_a_command_and_its_children(on_disk):
    write = f"open({str(on_disk / 'file')!r}, 'wb').write(bytes(8 << 20))"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {write!r}])"
    written = Meter(os.environ, []).measure([python(code)]).written
    assert 8 * MIB <= written < 9 * MIB


def test_writes_of_a_watched_process_before_the_watch_are_not_counted(on_disk):
    with (on_disk / "before").open("wb") as file:
        file.write(bytes(4 * MIB))
    with measuring.watched(os.getpid()) as watch, (on_disk / "file").open("wb") as file:
        file.write(bytes(2 * MIB))
    assert 2 * MIB <= watch.written < 3 * MIB


def test_command_that_fails_is_named_with_its_words():
    with pytest.raises(RuntimeError, match=r"ended with 3\nall is lost"):
        Meter(os.environ, []).measure([python("import sys; sys.stderr.write('all is lost'); sys.exit(3)")])


def test_no_second_engine_on_the_machine_s_own_network(tmp_path):
    """It would take the first one's bridge away."""
    with pytest.raises(RuntimeError, match="network namespace"), grounds.engine(tmp_path):
        pass


@pytest.mark.parametrize(
    ("changes", "texts"),
    [
        ({}, []),
        ({"nothing to do": {"seconds": 1.5}}, ["nothing to do under 1 s, registry builder"]),
        ({"rebase": {"seconds": 3.0}}, ["rebase at least 10 times faster than the docker builder"]),
        ({"second patch": {"memory": 200_000_000}}, ["registry builder under 200 MB of memory"]),
        ({"second patch": {"sent": 106}}, [f"{BYTES}, second patch"]),
    ],
    ids=["all-met", "slow", "hardly-faster", "memory", "bytes"],
)  # fmt: skip
def test_aims_are_met_or_missed(changes, texts):
    steps = []
    for name in ("second patch", "nothing to do", "rebase"):
        figures = replace(FIGURES, **changes.get(name, {}))
        steps.append(Step("registry builder", name, figures, figures.sent or 100, 100))
        slower = 0.9 if name == "nothing to do" else 20.0
        steps.append(Step("docker builder", name, replace(FIGURES, seconds=slower), 0, 100))
    assert [aim.text for aim in report.aims(steps) if not aim.met] == texts
