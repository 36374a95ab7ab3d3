"""What goes into the engine and comes out of it: images, runs, mounts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xgbpatch.engine.ownership import Life
from xgbpatch.oci.image import ImageSummary


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
