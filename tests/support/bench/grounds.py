"""What the benchmark runs on: its own registries and engine, and a base of at least a gigabyte."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from support.registries import free_port
from xgbpatch.oci.manifest import DOCKER_MANIFEST

REPOSITORY, TAG, MOVED, FIRST = "sagemaker-xgboost", "3.2-0", "moved", "first"
SMALLEST = 1_000_000_000  # bytes of the base's layers in the registry, compressed
_SECONDS = 300.0


@dataclass(frozen=True)
class Base:
    """The base in the source registry: bytes of its layers, compressed, and how many of them were added here."""

    layers: int
    size: int
    filler: int


@contextmanager
def registry(program: str, folder: Path) -> Iterator[int]:
    """The port of a docker-registry on 127.0.0.1 whose images lie in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = folder / "config.yml"
    config.write_text(json.dumps({
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "blobs")}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }))  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(config)], stdout=log, stderr=log)
    try:
        _wait(lambda: not socket.socket().connect_ex(("127.0.0.1", port)), process, folder / "log")
        yield port
    finally:
        process.terminate()
        process.wait()


@contextmanager
def engine(folder: Path) -> Iterator[tuple[int, str]]:
    """Process number and address of a new Docker Engine that holds nothing.

    Only in a network namespace of its own: on the machine's it would take the first engine's bridge away.
    """
    if not in_own_network():
        raise RuntimeError("a second engine is started in a network namespace of its own alone")
    with tempfile.TemporaryDirectory(prefix="bench-") as short:  # a socket's path has at most 107 bytes
        address = f"unix://{short}/s"
        command = ["dockerd", "--host", address, "--data-root", str(folder), "--exec-root", f"{short}/exec",
                   "--pidfile", f"{short}/pid"]  # fmt: skip
        log = Path(short) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            _wait(lambda: not _docker(address, "version", check=False).returncode, process, log)
            yield process.pid, address
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
            subprocess.run(["umount", folder], capture_output=True, check=False)


def in_own_network() -> bool:
    """Whether `unshare --net` started this process: its parent is in another network namespace."""
    return os.readlink("/proc/self/ns/net") != os.readlink(f"/proc/{os.getppid()}/ns/net")


def make_base(port: int, standin: str, folder: Path) -> Base:
    """Push the stand-in, grown by random bytes to a gigabyte, and the same with a small layer more, under tags that say
    so. The machine's own engine is left as it was."""
    plain = _named(port, "plain")
    with _lent(plain):
        _docker("", "tag", standin, plain)
        _docker("", "push", plain)
    filler = max(0, SMALLEST - sum(_sizes(port, "plain")))
    first, moved = _named(port, FIRST), _named(port, MOVED)
    with _lent(first), _lent(moved):
        _build(folder, first, standin, filler)
        _build(folder, moved, first, 4096)
        _docker("", "push", first)
        _docker("", "push", moved)
    sizes = _sizes(port, FIRST)
    return Base(len(sizes), sum(sizes), filler)


def point(port: int, tag: str) -> None:
    """Move the base's tag to the image under `tag`."""
    url = f"http://127.0.0.1:{port}/v2/{REPOSITORY}/manifests"
    manifest = requests.get(f"{url}/{tag}", headers={"Accept": DOCKER_MANIFEST}, timeout=300)
    headers = {"Content-Type": DOCKER_MANIFEST}
    requests.put(f"{url}/{TAG}", manifest.content, headers=headers, timeout=300).raise_for_status()


def own_bytes(host: str, repository: str, reference: str, base_layers: int) -> int:
    """What an image in a registry has that its base has not: layers, configuration and manifest."""
    url = f"http://{host}/v2/{repository}/manifests/{reference}"
    answer = requests.get(url, headers={"Accept": DOCKER_MANIFEST}, timeout=300)
    document = answer.json()
    added = sum(layer["size"] for layer in document["layers"][base_layers:])
    return int(added + document["config"]["size"] + len(answer.content))


def _sizes(port: int, tag: str) -> list[int]:
    url = f"http://127.0.0.1:{port}/v2/{REPOSITORY}/manifests/{tag}"
    document = requests.get(url, headers={"Accept": DOCKER_MANIFEST}, timeout=300).json()
    return [layer["size"] for layer in document["layers"]]


def _named(port: int, tag: str) -> str:
    return f"127.0.0.1:{port}/{REPOSITORY}:{tag}"


def _build(folder: Path, name: str, parent: str, size: int) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as context:
        Path(context, "Dockerfile").write_text(f"FROM {parent}\nCOPY filler /var/lib/bench/{size}\n")
        with Path(context, "filler").open("wb") as file:
            for _ in range(0, size, 1 << 20):
                file.write(os.urandom(1 << 20))
            file.truncate(size)
        _docker("", "build", "--quiet", "--tag", name, context)


@contextmanager
def _lent(name: str) -> Iterator[None]:
    try:
        yield
    finally:
        _docker("", "rmi", name, check=False)


def _docker(host: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    more = {"DOCKER_BUILDKIT": "0", **({"DOCKER_HOST": host} if host else {})}
    completed = subprocess.run(
        ["docker", *arguments], env={**os.environ, **more}, capture_output=True, text=True, check=False
    )
    if check and completed.returncode:
        raise RuntimeError(f"docker {' '.join(arguments)}: {completed.stderr[-2000:]}")
    return completed


def _wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args} does not answer\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)
