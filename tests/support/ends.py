"""What is left of a server that ended unasked: how it ended, what the engine saw of it, and every word it said.

For "gone in the middle, left no word" (docs/known-issues.md): a failure that finds a server gone says all of this.
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import docker.errors

from xgbpatch.engine.client import Container

CRASH = "/tmp/hs_err.log"  # where a JVM that crashes says why; it is read out of the container, which has ended by then
TRAP = {"JAVA_TOOL_OPTIONS": f"-XX:ErrorFile={CRASH}"}
_SHOWN = 4000  # characters of each text in a message


@dataclass(frozen=True)
class End:
    """`state` and `events` are the engine's; `crash` is the JVM's account, empty where it did not crash."""

    state: Mapping[str, Any]
    events: tuple[str, ...]
    stdout: str
    stderr: str
    crash: str
    folder: Path

    @property
    def exit_code(self) -> int:
        return int(self.state["ExitCode"])

    @property
    def seconds(self) -> str:
        """From when to when, as the engine noted it."""
        return f"{self.state['StartedAt']} to {self.state['FinishedAt']}"

    def __str__(self) -> str:
        killed = ", out of memory" if self.state.get("OOMKilled") else ""
        parts = {"stdout": self.stdout, "stderr": self.stderr, "crash": self.crash}
        return "\n".join([
            f"has ended with exit code {self.exit_code}{killed} ({self.seconds}) {self.state.get('Error', '')}",
            f"events: {'; '.join(self.events) or 'the engine remembers none'}",
            *(f"--- {name} ({len(text)} characters)\n{text[-_SHOWN:]}" for name, text in parts.items()),
            f"--- whole, in {self.folder}",
        ])  # fmt: skip


def end_of(container: Container) -> End | None:
    """None of one that runs. What is left is kept in a folder of its own, which nobody removes."""
    client = docker.from_env().api
    try:
        state = client.inspect_container(container.id)["State"]
        if state["Running"]:
            return None
        events = tuple(_events(client, container.id))
        stdout, stderr = (
            client.logs(container.id, stdout=out, stderr=not out).decode("utf-8", "replace") for out in (True, False)
        )
        crash = _file(client, container.id, CRASH)
    finally:
        client.close()
    folder = Path(tempfile.mkdtemp(prefix="xgbpatch-end-"))
    texts = {"stdout": stdout, "stderr": stderr, "crash": crash, "events": "\n".join(events)}
    for name, text in {**texts, "state.json": json.dumps(state, indent=2)}.items():
        (folder / name).write_text(text, encoding="utf-8")
    return End(state, events, stdout, stderr, crash, folder)


@contextmanager
def told(containers: Mapping[str, Container]) -> Iterator[None]:
    """An error in the block names those that had ended by then, and how; `containers` may be filled meanwhile."""
    try:
        yield
    except Exception as error:
        descriptions = [f"{name} {end}" for name, container in containers.items() if (end := end_of(container))]
        if descriptions:
            raise AssertionError("\n".join([str(error), *descriptions])) from error
        raise


def _events(client: Any, container: str) -> Iterator[str]:
    """Of that container, oldest first; the engine forgets them after some hundred of all containers."""
    for event in client.events(since=0, until=int(time.time()) + 1, filters={"container": container}, decode=True):
        attributes = event.get("Actor", {}).get("Attributes", {})
        about = {name: attributes[name] for name in ("exitCode", "signal", "execDuration") if name in attributes}
        moment = time.strftime("%H:%M:%S", time.gmtime(event["time"]))
        yield f"{moment} {event['Action']}" + "".join(f" {name}={value}" for name, value in about.items())


def _file(client: Any, container: str, path: str) -> str:
    try:
        stream, _ = client.get_archive(container, path)
    except docker.errors.NotFound:
        return ""
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
        content = archive.extractfile(archive.getmembers()[0])
        return content.read().decode("utf-8", "replace") if content else ""
