"""A registry's images as they lie on disk: what its HTTP API cannot list (untagged images) or undo (a tag).

The layout is that of distribution 2 (`registry/storage/paths.go`). The registry keeps no copy of it in memory, so that
what changes here is what it answers next.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_INDEX, _IMAGE = "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class Repository:
    """One repository of the registry whose store is `root`. It need not exist. Names were checked by the caller."""

    root: Path
    name: str

    @property
    def exists(self) -> bool:
        """Whether anything was ever pushed to it."""
        return self._home.is_dir()

    def tags(self) -> dict[str, str]:
        """Digests by tag."""
        found = {link.parts[-3]: _read(link) for link in self._manifests.glob("tags/*/current/link")}
        return {tag: digest for tag, digest in found.items() if digest}

    def images(self) -> dict[str, float]:
        """When each manifest was pushed (seconds since 1970), by digest, the oldest first."""
        links = self._manifests.glob("revisions/sha256/*/link")
        found = {digest: link.stat().st_mtime for link in links if (digest := _read(link))}
        return dict(sorted(found.items(), key=lambda one: one[1]))

    def find(self, digest: str, tag: str) -> str:
        """The digest that is meant: by digest, by tag, or by both where they agree; empty where there is none."""
        meant = digest or self.tags().get(tag, "")
        agreed = not (digest and tag) or self.tags().get(tag) == digest
        return meant if agreed and meant in self.images() else ""

    def manifest(self, digest: str) -> str:
        """The manifest's own bytes, as text."""
        return self._blob(digest).read_bytes().decode()

    def layer(self, digest: str) -> Path | None:
        """The file of a layer or configuration that was uploaded to, or mounted into, this repository."""
        if not _DIGEST.fullmatch(digest) or not _read(self._home / "_layers" / digest.replace(":", "/") / "link"):
            return None
        return self._blob(digest)

    def remove(self, tags: Collection[str], digests: Collection[str]) -> None:
        """Take tags and manifests away. Layers stay, as the registry itself leaves them."""
        gone = [*(f"tags/{tag}" for tag in tags), *(f"revisions/{digest.replace(':', '/')}" for digest in digests)]
        for path in gone:
            shutil.rmtree(self._manifests / path, ignore_errors=True)

    def drop(self) -> None:
        """Drop the repository with all that is in it."""
        shutil.rmtree(self._home, ignore_errors=True)

    @property
    def _home(self) -> Path:
        return self.root / "docker/registry/v2/repositories" / self.name

    @property
    def _manifests(self) -> Path:
        return self._home / "_manifests"

    def _blob(self, digest: str) -> Path:
        name = digest.partition(":")[2]
        return self.root / "docker/registry/v2/blobs/sha256" / name[:2] / name / "data"


def media_type(manifest: str) -> str:
    """What the manifest says it is; OCI's need not say it."""
    document = json.loads(manifest)
    return str(document.get("mediaType") or (_INDEX if "manifests" in document else _IMAGE))


def blobs_of(manifest: str) -> Iterator[str]:
    """Digests of the layers and the configuration that an image's manifest needs."""
    document = json.loads(manifest)
    for entry in (*document.get("layers", ()), document.get("config", {})):
        if entry.get("digest"):
            yield entry["digest"]


def members_of(manifest: str) -> Iterator[str]:
    """Digests of the manifests that an index names."""
    return (entry["digest"] for entry in json.loads(manifest).get("manifests", ()))


def _read(link: Path) -> str:
    """The digest in a link file; empty while the registry is still writing it, or where there is none."""
    try:
        text = link.read_text(encoding="ascii").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return text if _DIGEST.fullmatch(text) else ""
