"""What ECR's API writes goes into the registry by the registry's own HTTP API, which checks it."""

from __future__ import annotations

from threading import Lock
from typing import Any

import requests

from xgbpatch.sandbox.state import RegistryHost, SandboxState

_SECONDS = 120


class Writer:
    """Writes into one registry of the sandbox."""

    def __init__(self, registry: RegistryHost, state: SandboxState) -> None:
        self._url = f"https://{registry.host}/v2"
        self._settings: dict[str, Any] = {
            "auth": ("AWS", registry.password),
            "verify": str(state.authority),
            "timeout": _SECONDS,
        }

    def begin(self, repository: str) -> str:
        """The address of a new upload."""
        answer = self._send("POST", f"{self._url}/{repository}/blobs/uploads/")
        answer.raise_for_status()
        return answer.headers["Location"]

    def append(self, location: str, piece: bytes) -> str:
        """Where the upload goes on after `piece`."""
        answer = self._send("PATCH", location, headers={"Content-Type": "application/octet-stream"}, data=piece)
        answer.raise_for_status()
        return answer.headers["Location"]

    def finish(self, location: str, digest: str) -> bool:
        """Whether the registry found that digest in what was uploaded."""
        answer = self._send("PUT", f"{location}{'&' if '?' in location else '?'}digest={digest}")
        if answer.status_code == 400:
            return False
        answer.raise_for_status()
        return True

    def put(self, repository: str, name: str, manifest: str, media_type: str) -> str:
        """Put a manifest under a tag or digest; the registry's words of refusal, or nothing."""
        url = f"{self._url}/{repository}/manifests/{name}"
        answer = self._send("PUT", url, headers={"Content-Type": media_type}, data=manifest.encode())
        return "" if answer.ok else answer.text

    def _send(self, method: str, url: str, **what: Any) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False  # neither a proxy nor another bundle of certificates
            return session.request(method, url, **self._settings, **what)


class Upload:
    """An upload so far: `parts` are the sizes of those that came. A client that gave up waiting may send one twice."""

    def __init__(self, repository: str, writer: Writer) -> None:
        self.repository = repository
        self.parts: list[int] = []
        self._writer = writer
        self._location = writer.begin(repository)
        self._lock = Lock()

    @property
    def size(self) -> int:
        return sum(self.parts)

    def append(self, first_byte: int, piece: bytes) -> bool:
        """Whether `piece` began where the last one had ended, and is there now."""
        with self._lock:
            if first_byte != self.size:
                return False
            self._location = self._writer.append(self._location, piece)
            self.parts.append(len(piece))
            return True

    def finish(self, digest: str) -> bool:
        """Whether the registry found that digest; the upload is over in either case."""
        return self._writer.finish(self._location, digest)
