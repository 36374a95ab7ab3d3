"""A registry's HTTP API (OCI distribution specification 1.1), as far as images are looked at and tags are put."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from xgbpatch.errors import RegistryError
from xgbpatch.manifest import MEDIA_TYPES, Descriptor, Manifest
from xgbpatch.reference import ImageReference
from xgbpatch.registry_session import Answer, CredentialsFor, RegistrySession, Request

_ACCEPT = {"Accept": ", ".join(MEDIA_TYPES)}
_UNDELETABLE = frozenset({400, 405})  # distribution 2 takes digests only, or has deletion switched off


class Registry:
    """Any registry; credentials come from `credentials_for` when a registry asks. Raises nothing but `RegistryError`.

    A reference with a digest means that digest, else its tag. What is read is verified against its digest.
    """

    def __init__(self, credentials_for: CredentialsFor, pause: Callable[[float], None] = time.sleep) -> None:
        self.credentials_for = credentials_for
        self._session = RegistrySession(credentials_for, pause)

    def head(self, reference: ImageReference) -> Descriptor | None:
        """What stands under the reference, or None; nothing is downloaded."""
        answer = self._session.send(Request(reference, "HEAD", _manifest_path(reference), _ACCEPT))
        if answer.status == 404:
            return None
        _require(answer, (200,), f'look up "{reference}"')
        digest = answer.headers.get("Docker-Content-Digest")
        if not digest:  # the specification makes the header optional
            manifest = self.manifest(reference)
            return Descriptor(manifest.digest, manifest.media_type, len(manifest.content))
        return Descriptor(digest, _media_type(answer), int(answer.headers.get("Content-Length", 0)))

    def find(self, reference: ImageReference) -> Manifest | None:
        """The manifest under the reference, or None when there is none."""
        answer = self._session.send(Request(reference, "GET", _manifest_path(reference), _ACCEPT))
        if answer.status == 404:
            return None
        _require(answer, (200,), f'read the manifest of "{reference}"')
        manifest = Manifest(answer.body, _media_type(answer))
        for claimed in (reference.digest, answer.headers.get("Docker-Content-Digest", "")):
            _verify(reference, claimed, manifest.digest)
        return manifest

    def manifest(self, reference: ImageReference) -> Manifest:
        """As `find`; raises `RegistryError` when there is none."""
        manifest = self.find(reference)
        if manifest is None:
            raise RegistryError(f'"{reference}" does not exist', "Check the repository, the tag and the region.")
        return manifest

    def config(self, reference: ImageReference, manifest: Manifest) -> Mapping[str, Any]:
        """The image's configuration, which holds its labels, environment and layers' diff IDs."""
        digest = manifest.config.digest
        answer = self._session.send(Request(reference, "GET", f"blobs/{digest}"))
        _require(answer, (200,), f'read the configuration of "{reference}"')
        _verify(reference, digest, f"sha256:{hashlib.sha256(answer.body).hexdigest()}")
        document = json.loads(answer.body)
        assert isinstance(document, dict), "a verified configuration is what its builder wrote"
        return document

    def put_manifest(self, reference: ImageReference, manifest: Manifest) -> ImageReference:
        """Put `manifest` under the reference's tag, in one step; returns the reference with its digest."""
        path, headers = f"manifests/{reference.tag}", {"Content-Type": manifest.media_type}
        answer = self._session.send(Request(reference, "PUT", path, headers, manifest.content))
        _require(answer, (200, 201, 202), f'put a manifest under "{reference}"')
        _verify(reference, answer.headers.get("Docker-Content-Digest", ""), manifest.digest)
        return reference.with_digest(manifest.digest)

    def remove_tag(self, reference: ImageReference) -> bool:
        """Take the tag away, leaving its image; False where this registry cannot. A missing tag is no error."""
        answer = self._session.send(Request(reference, "DELETE", f"manifests/{reference.tag}"))
        if answer.status in _UNDELETABLE:
            return False
        _require(answer, (200, 202, 404), f'remove the tag "{reference}"')
        return True


def _manifest_path(reference: ImageReference) -> str:
    return f"manifests/{reference.digest or reference.tag or 'latest'}"


def _media_type(answer: Answer) -> str:
    return answer.headers.get("Content-Type", "").partition(";")[0].strip()


def _verify(reference: ImageReference, claimed: str, seen: str) -> None:
    if claimed and claimed != seen:
        raise RegistryError(
            f'the registry sent wrong bytes for "{reference}": "{claimed}" was announced and "{seen}" came',
            "Try again; a proxy or a damaged registry stands between.",
        )


def _require(answer: Answer, allowed: tuple[int, ...], what: str) -> None:
    if answer.status not in allowed:
        words = _words(answer)
        raise RegistryError(f"the registry refused to {what}: HTTP {answer.status}{words}", _next_step(answer))


def _words(answer: Answer) -> str:
    """The registry's own error codes and messages, which a HEAD never carries."""
    try:
        errors = json.loads(answer.body)["errors"]
        return ": " + "; ".join(f"{error.get('code')}: {error.get('message', '')}" for error in errors)
    except (ValueError, KeyError, TypeError, AttributeError):
        text = answer.body.decode("utf-8", "replace").strip()[:200]
        return f": {text}" if text else ""


def _next_step(answer: Answer) -> str:
    if answer.status == 401:
        return "Check the credentials: for ECR those of AWS, for another registry those of `docker login`."
    if answer.status == 403:
        return "This identity lacks the permission: see the repository's policy and the identity's own."
    if answer.status == 429:
        wait = answer.headers.get("Retry-After", "")
        return f"The registry asks to wait {wait} s." if wait.isdigit() else "The registry is busy: try again later."
    return "The registry has a fault of its own: try again later." if answer.status >= 500 else ""
