"""Containers and the processes that started them: several processes, PID namespaces and a real engine."""

import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import docker
import pytest

from support.bases import RUN_ID
from support.layers import tar_of
from xgbpatch.engine import ownership
from xgbpatch.engine.client import Engine, EngineGoneError, is_gone
from xgbpatch.engine.types import Run
from xgbpatch.errors import EngineError
from xgbpatch.reference import ImageReference

IMAGE = f"xgbpatch-tests/pausing:{RUN_ID}"
SOCKET = "/var/run/docker.sock"
DEADLINE_SECONDS = 120
SWARM = 6

HOLDER = """
import sys
from contextlib import ExitStack
from xgbpatch.engine.client import Engine
from xgbpatch.errors import EngineError
from xgbpatch.engine.types import Run
with Engine.connect() as engine, ExitStack() as stack:
    count = int(sys.argv[2])
    print(*[stack.enter_context(engine.container(Run(sys.argv[1], ("/bin/sh",)))).id for _ in range(count)], flush=True)
    sys.stdin.read()
"""
SWEEPER = """
import sys
from xgbpatch.engine.client import Engine
from xgbpatch.errors import EngineError
print("ready", flush=True)
sys.stdin.readline()
with Engine.connect():
    pass
"""
# In a PID namespace of its own: a holder is killed, and another process gets its number, before the next command.
REUSED_NUMBER = """
import os, subprocess, sys
holder = subprocess.Popen([sys.executable, "-c", *sys.argv[1:4]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
ids = holder.stdout.readline().decode().strip()
holder.kill()
holder.wait()
with open("/proc/sys/kernel/ns_last_pid", "w") as last:
    last.write(str(holder.pid - 1))
other = subprocess.Popen(["sleep", "600"])
assert other.pid == holder.pid, (other.pid, holder.pid)
try:
    print(ids, flush=True)
    subprocess.run([sys.executable, "-c", sys.argv[4]], input=b"\\n", stdout=subprocess.DEVNULL, check=True)
finally:
    other.kill()
"""


@pytest.fixture(scope="module")
def client():
    with contextlib.closing(docker.from_env()) as opened:
        yield opened


@pytest.fixture(scope="module")
def image(client):
    """An image whose /bin/sh waits for a signal, whatever it is asked to do."""
    client.api.import_image_from_data(
        tar_of([("bin/sh", _pausing_program())]), repository=IMAGE.partition(":")[0], tag=IMAGE.partition(":")[2]
    )
    yield IMAGE
    client.images.remove(IMAGE, force=True)


def _pausing_program():
    """A static x86-64 executable, as elf(5) says: `for (;;) pause();`."""
    code = bytes.fromhex("b822000000 0f05 ebf7".replace(" ", ""))  # mov eax, 34; syscall; jmp to the start
    address, size = 0x400000, 64 + 56 + len(code)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, address + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, address, address, size, size, 0x1000) + code


@contextlib.contextmanager
def held(client, image, *prefix, count=1):
    """A process that started `count` containers, and their IDs; both are gone afterwards."""
    process = subprocess.Popen(
        [*prefix, sys.executable, "-c", HOLDER, image, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    ids = []
    try:
        ids = process.stdout.readline().split()
        assert len(ids) == count
        yield process, ids
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=DEADLINE_SECONDS)
        discard(client, ids)


def discard(client, ids):
    for one in ids:
        try:
            client.containers.get(one).remove(force=True)
        except docker.errors.APIError as error:
            if not is_gone(error):
                raise


def sweep(*prefix):
    """What each command does first: it connects to the engine. In a namespace a process of its own does."""
    if not prefix:
        with Engine.connect():
            return
    subprocess.run([*prefix, sys.executable, "-c", SWEEPER], input="\n", text=True, check=True,
                   stdout=subprocess.DEVNULL, timeout=DEADLINE_SECONDS)  # fmt: skip


def existing(client, ids):
    return [one for one in ids if client.api.containers(all=True, quiet=True, filters={"id": one})]


def until_gone(client, ids):
    """A removal that somebody else began ends soon: a command of another run sweeps as well."""
    end = time.monotonic() + DEADLINE_SECONDS
    while existing(client, ids):
        assert time.monotonic() < end, existing(client, ids)
        time.sleep(0.05)


NAMESPACES = {
    "PID namespace": ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child"),
    "PID namespace with the /proc of another": ("unshare", "--pid", "--fork", "--kill-child"),
    "time namespace": ("unshare", "--time", "--boottime", "1000", "--fork", "--kill-child"),
}


@pytest.fixture(scope="module")
def living(client, image):
    """A run for several tests: its process, and the IDs of its containers."""
    with held(client, image) as process_and_ids:
        yield process_and_ids


@pytest.mark.parametrize("namespace", NAMESPACES.values(), ids=NAMESPACES)
def test_living_run_is_left_alone_by_a_command_in_another_namespace(client, living, namespace):
    _, ids = living
    sweep(*namespace)
    assert existing(client, ids) == ids


@pytest.mark.parametrize("namespace", NAMESPACES.values(), ids=NAMESPACES)
def test_living_run_in_another_namespace_is_left_alone(client, image, namespace):
    with held(client, image, *namespace) as (_, ids):
        sweep()
        sweep(*namespace)
        assert existing(client, ids) == ids


def test_containers_of_a_killed_run_are_removed_by_the_next_command(client, image):
    with held(client, image, count=2) as (process, ids):
        sweep()
        assert existing(client, ids) == ids
        process.kill()
        process.wait()
        sweep()
        until_gone(client, ids)


def test_containers_of_a_killed_run_that_nobody_waited_for_are_removed(client, image):
    with held(client, image) as (process, ids):
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        sweep()
        until_gone(client, ids)


def test_containers_of_a_killed_run_are_removed_though_its_number_is_taken(client, image):
    command = [sys.executable, "-c", REUSED_NUMBER, HOLDER, image, "1", SWEEPER]
    completed = subprocess.run(
        [*NAMESPACES["PID namespace"], *command], capture_output=True, text=True, check=False, timeout=DEADLINE_SECONDS
    )
    ids = completed.stdout.split()
    try:
        assert completed.returncode == 0, completed.stderr
        assert len(ids) == 1
        until_gone(client, ids)
    finally:
        discard(client, ids)


def test_containers_of_an_older_xgbpatch_are_left_alone(client, image):
    """It named its process `host:number`, which a process of another PID namespace may have as well."""
    with subprocess.Popen(["true"]) as process:
        pass
    label = {ownership.OWNER_LABEL: f"{socket.gethostname()}:{process.pid}"}
    container = client.containers.create(image, ["/bin/sh"], labels=label)
    try:
        sweep()
        assert existing(client, [container.id]) == [container.id]
    finally:
        discard(client, [container.id])


def test_commands_that_remove_the_same_containers_at_once_all_succeed(client, image):
    with held(client, image, count=SWARM) as (process, ids):
        process.kill()
        process.wait()
        sweepers = [
            subprocess.Popen([sys.executable, "-c", SWEEPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
            for _ in range(3)
        ]  # fmt: skip
        for sweeper in sweepers:
            assert sweeper.stdout.readline() == "ready\n"
        for sweeper in sweepers:
            sweeper.stdin.write("\n")
            sweeper.stdin.flush()
        ends = [(*sweeper.communicate(timeout=DEADLINE_SECONDS), sweeper.returncode) for sweeper in sweepers]
        assert ends == [("", "", 0)] * len(sweepers)
        until_gone(client, ids)


def test_image_that_several_remove_at_once_is_removed_for_all_of_them(client):
    """By ID and by name: the engine has other words for the one who comes late."""
    reference = ImageReference.parse(f"xgbpatch-tests/vanishing:{RUN_ID}")
    errors = []

    def remove(target, ready):
        with Engine.connect() as engine:
            ready.wait(DEADLINE_SECONDS)
            try:
                engine.remove(target)
            except Exception as error:
                errors.append(error)

    for number in range(10):
        client.api.import_image_from_data(
            tar_of([(f"number-{number}", b"")]), repository=reference.name, tag=reference.tag
        )
        target = client.images.get(str(reference)).id if number % 2 else reference
        ready = threading.Barrier(3)
        threads = [threading.Thread(target=remove, args=(target, ready)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []
    assert client.images.list(str(reference)) == []


def test_container_that_a_busy_engine_does_not_remove_at_once_is_removed(client, image, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    pump, refusals = refused_once()
    with door(tmp_path / "docker.sock", pump), Engine.connect() as engine:
        with engine.container(Run(image, ("/bin/sh",))) as container:
            ids = [container.id]
        assert refusals == []
        until_gone(client, ids)


@pytest.mark.usefixtures("living")
def test_image_in_use_is_not_taken_for_removed(image):
    with Engine.connect() as engine, pytest.raises(EngineError, match="using its referenced image"):
        engine.remove(image)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_signal_keeps_its_exit_code_where_the_container_cannot_be_removed(client, image, tmp_path, number, code):
    arguments = ["build", "--base-image", image, "--version", "3.0-5", "--region", "us-west-2"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/docker.sock"}
    with door(tmp_path / "docker.sock", without_removals):
        process = subprocess.Popen(
            [sys.executable, "-m", "xgbpatch", *arguments], env=environment, stderr=subprocess.PIPE, text=True
        )
        ids = until_started(client, process)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=DEADLINE_SECONDS)
    try:
        assert process.returncode == code, stderr
        assert "xgbpatch: interrupted" in stderr
        assert f'container "{ids[0][:12]}" could not be removed' in stderr
        assert "Traceback" not in stderr
        sweep()
        until_gone(client, ids)
    finally:
        discard(client, ids)


def until_started(client, process):
    """IDs of the containers that `process` started, as soon as one runs."""
    end = time.monotonic() + DEADLINE_SECONDS
    with Engine.connect() as engine:
        while not (ids := engine.leftovers(process.pid)) or client.containers.get(ids[0]).status != "running":
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.02)
    return ids


def test_engine_that_goes_away_within_its_answer_is_gone(image, tmp_path, monkeypatch):
    """The head of the answer to a wait comes at once, the rest when the container has ended."""
    with door(tmp_path / "docker.sock", without_ends):
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
        with (
            Engine.connect() as engine,
            pytest.raises(EngineGoneError),
            engine.container(Run(image, ("/bin/sh",))) as container,
        ):
            container.wait(DEADLINE_SECONDS)


@contextlib.contextmanager
def door(path, pump):
    """A socket of the real engine at `path`; `pump(client, engine)` says what passes."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def accept():
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(SOCKET)
                threading.Thread(target=pump, args=(near, far), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield
    finally:
        listener.close()


def without_removals(near, far):
    """Hangs up on whoever removes something."""
    for data, target in passing(near, far):
        if data.startswith(b"DELETE "):
            break
        target.sendall(data)


def refused_once():
    """A pump that answers the first removal as moby 20.10 does where the container's process has not ended yet."""
    message = b'{"message":"Could not kill running container 1, cannot remove - PID 1 is zombie and can not be killed"}'
    refusals = [
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
        % (len(message), message)
    ]

    def pump(near, far):
        for data, target in passing(near, far):
            if data.startswith(b"DELETE ") and refusals:
                near.sendall(refusals.pop())
            else:
                target.sendall(data)

    return pump, refusals


def without_ends(near, far):
    """Hangs up after the head of the answer to a wait."""
    waits = False
    for data, target in passing(near, far):
        waits = waits or b"/wait" in data.partition(b"\r\n")[0]
        target.sendall(data)
        if waits and target is near:
            break


def passing(near, far):
    """What either end sends, with the end that it is for, until one hangs up; both are closed then."""
    other = {near: far, far: near}
    with near, far, contextlib.suppress(OSError):
        while True:
            for source in select.select([near, far], [], [])[0]:
                data = source.recv(1 << 16)
                if not data:
                    return
                yield data, other[source]


@pytest.fixture(scope="module")
def doctor(client, image, living):
    """What `xgbpatch doctor` says of the containers of a living run, and of one in a PID namespace of its own.

    (its finding, ID of the second run's container); nothing else of this machine matters here.
    """
    environment = {**os.environ, "AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "xgbpatch", "doctor", "--json", "--region", "us-west-2"]
    with held(client, image, *NAMESPACES["PID namespace"]) as (_, ids):
        completed = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=DEADLINE_SECONDS
        )
    (finding,) = [one for one in json.loads(completed.stdout) if one["name"] == "containers"]
    return finding, ids[0]


def test_doctor_offers_no_removal_of_a_living_run(doctor, living):
    finding, _ = doctor
    process, ids = living
    assert ids[0][:12] not in finding["fix"]
    assert f"process {process.pid}" in finding["seen"]


def test_doctor_leaves_to_a_person_what_it_cannot_judge(doctor):
    finding, container = doctor
    assert finding["level"] == "warning"
    assert f'{container[:12]} (process 1 on "{socket.gethostname()}"' in finding["seen"]
    assert container[:12] in finding["fix"]
    assert "no longer runs" in finding["fix"]
