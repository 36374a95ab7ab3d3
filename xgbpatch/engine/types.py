"""What goes into the engine and comes out of it: images, runs, mounts, and what it streams."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xgbpatch.engine.ownership import Life
from xgbpatch.errors import BuildError, RegistryError
from xgbpatch.oci.image import ImageSummary
from xgbpatch.progress import Progress


@dataclass(frozen=True)
class LocalImage:
    """An image that the engine holds. `layers` are diff IDs, base first; `size` is in bytes; `created` is RFC 3339.

    `document` is its configuration, in the form of the OCI image-spec, as far as the engine tells it.
    """

    id: str
    tags: tuple[str, ...]
    repo_digests: tuple[str, ...]
    labels: Mapping[str, str]
    environment: Mapping[str, str]
    layers: tuple[str, ...]
    size: int
    created: str
    architecture: str
    document: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_engine(cls, attrs: Mapping[str, Any]) -> LocalImage:
        """From the document that the engine has of an image."""
        config = attrs.get("Config") or {}
        return cls(
            id=attrs["Id"],
            tags=tuple(attrs.get("RepoTags") or ()),
            repo_digests=tuple(attrs.get("RepoDigests") or ()),
            labels=dict(config.get("Labels") or {}),
            environment=dict(pair.split("=", 1) for pair in config.get("Env") or () if "=" in pair),
            layers=tuple((attrs.get("RootFS") or {}).get("Layers") or ()),
            size=int(attrs.get("Size", 0)),
            created=str(attrs.get("Created", "")),
            architecture=str(attrs.get("Architecture", "")),
            document={
                "architecture": attrs.get("Architecture"),
                "os": attrs.get("Os"),
                "variant": attrs.get("Variant"),
                "os.version": attrs.get("OsVersion"),
                "config": config,
                "rootfs": {"type": "layers", "diff_ids": (attrs.get("RootFS") or {}).get("Layers") or []},
            },
        )

    @property
    def summary(self) -> ImageSummary:
        return ImageSummary.of_document(self.document)


@dataclass(frozen=True)
class EngineInformation:
    """What the engine says about itself. `architecture` is the kernel's name (`x86_64`), `root` where images lie.

    `containerd_store` tells containerd's image store from the classic one: its pushes send OCI manifests (moby 51532).
    """

    version: str
    architecture: str
    root: Path
    containerd_store: bool = False


@dataclass(frozen=True)
class Mount:
    """A bind mount of a directory or file of this machine."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Run:
    """A container to start. `entrypoint` empty keeps the image's; `ports` are published on random loopback ports.

    `network` is a Docker network mode; `memory` is a limit in bytes, 0 for none. `sealed` is for code that nobody has
    read: nobody's user, no capabilities, a file system that is only read, few processes, little log; `largest_file` is
    then the limit of a file in bytes.
    """

    image: str
    command: tuple[str, ...]
    entrypoint: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    ports: tuple[int, ...] = ()
    network: str = "bridge"
    hostname: str = ""
    memory: int = 0
    sealed: bool = False
    largest_file: int = 0


@dataclass(frozen=True)
class OwnedContainer:
    """A container that an xgbpatch started. `owner` names its process for people; `created` is RFC 3339."""

    id: str
    created: str
    owner: str
    life: Life


@dataclass(frozen=True)
class Completed:
    """A container that ended: its exit code and what it printed."""

    exit_code: int
    stdout: str
    stderr: str


_LABEL_STEP = re.compile(r"Step \d+/\d+ : LABEL ")
_FRAME_HEAD = 8  # bytes: which stream, three zeros, the length


# The engine reports failures inside a stream that HTTP already called a success: this reads it to the end.


def drain(
    stream: Iterable[Mapping[str, Any]], progress: Progress, failure: type[RegistryError | BuildError], what: str
) -> dict[str, Any]:
    """Consume a decoded build, pull or push stream; returns the merged `aux` records.

    Raises `failure`, `what` followed by the engine's words, on the first `error` (docker-py issues 1772, 2555, 3050).
    """
    aux: dict[str, Any] = {}
    for record in stream:
        if "error" in record:
            words = str(record.get("errorDetail", {}).get("message") or record["error"]).strip()
            raise failure(f"{what}: {words}")
        aux.update(record.get("aux") or {})
        text = str(record.get("stream", "")).strip()
        if text and not _LABEL_STEP.match(text):  # kilobytes that only a program reads
            progress.line(text)
        detail = record.get("progressDetail") or {}
        if record.get("id") and detail.get("total"):
            progress.update(f"{record['status']} {record['id']}", int(detail.get("current", 0)), int(detail["total"]))
    return aux


# docker-py reads a command's output past the buffer in which it read the response's head: what came together with the
# head is lost (its issues 2042 and 3332); on a busy machine that is all of it. A plain response is read whole.


def output_of(api: Any, execution: str) -> bytes:
    """Start the `execution` that `exec_create` of docker-py's `api` made; returns what it writes until it ends."""
    import docker.errors
    import requests

    response = api.post(
        f"{api.base_url}/v{api.api_version}/exec/{execution}/start",
        json={"Detach": False, "Tty": False}, timeout=api.timeout,
    )  # fmt: skip
    try:
        response.raise_for_status()
    except requests.exceptions.HTTPError as error:
        docker.errors.create_api_error_from_http_exception(error)
    return b"".join(_frames(response.content))


def _frames(stream: bytes) -> Iterator[bytes]:
    """Standard output and standard error as they came, without the head of each piece."""
    position = 0
    while position + _FRAME_HEAD <= len(stream):
        begin = position + _FRAME_HEAD
        position = begin + int.from_bytes(stream[begin - 4 : begin], "big")
        yield stream[begin:position]
