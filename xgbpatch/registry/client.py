"""Manifests, images, tags and deletion over the OCI distribution API."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from xgbpatch.errors import BaseImageError, RegistryError
from xgbpatch.oci import document
from xgbpatch.oci.image import CONFIGURATION, RemoteImage
from xgbpatch.oci.manifest import MEDIA_TYPES, Descriptor, Manifest, select
from xgbpatch.reference import CredentialsFor, ImageReference, is_tag
from xgbpatch.registry.http import Busy, RegistryAnswer, RegistryRequest, number
from xgbpatch.registry.transport import RegistrySession


class UnknownImageError(RegistryError):
    """The registry holds no such image. The exit code is that of a missing image, wherever it is looked for."""

    exit_code = BaseImageError.exit_code


def verify_digest(reference: ImageReference, claimed: str, actual: str) -> None:
    """Raises `RegistryError` where a digest was `claimed` and is not the `actual` one."""
    if claimed and claimed != actual:
        raise RegistryError(
            f'the registry sent wrong bytes for "{reference}": "{claimed}" was announced and "{actual}" came',
            "Try again; a proxy or a damaged registry stands between.",
        )


def require_status(answer: RegistryAnswer, allowed: tuple[int, ...], what: str) -> None:
    """Raises `RegistryError`, `Busy` where another try is worth it, for any status that is not `allowed`.

    `what` reads on after "refused to".
    """
    if answer.status not in allowed:
        message = f"the registry refused to {what}: HTTP {answer.status}{_words(answer)}"
        if answer.is_transient:
            raise Busy(message, _next_step(answer), answer.asked_pause)
        raise RegistryError(message, _next_step(answer))


_REFUSAL = {"errors": [{"code": str, "message": str}]}


def _words(answer: RegistryAnswer) -> str:
    """The registry's own error codes and messages, which a HEAD never carries."""
    try:
        errors = document.parse(answer.body, "the refusal", _REFUSAL).get("errors") or []
    except RegistryError:
        errors = []
    text = "; ".join(f"{error.get('code')}: {error.get('message') or ''}" for error in errors)
    if not text:
        text = answer.body.decode("utf-8", "replace").strip()[:200]
        text = "" if text.startswith("<") else text  # a page may repeat a presigned address
    shown = "".join(letter if letter.isprintable() else " " for letter in text[:1000])
    return f": {shown}" if shown else ""


def _next_step(answer: RegistryAnswer) -> str:
    if answer.status == 401:
        return "Check the credentials: for ECR those of AWS, for another registry those of `docker login`."
    if answer.status == 403:
        return "This identity lacks the permission: see the repository's policy and the identity's own."
    if answer.status == 429:
        wait = number(answer.headers.get("Retry-After", ""))
        return "The registry is busy: try again later." if wait is None else f"The registry asks to wait {wait} s."
    return "The registry has a fault of its own: try again later." if answer.status >= 500 else ""


# A registry's HTTP API (OCI distribution specification 1.1), as far as images are looked at and tags are put.


_ACCEPT = {"Accept": ", ".join(MEDIA_TYPES)}
_TAGS_A_PAGE = 1000
_UNDELETABLE = frozenset({400, 405})  # distribution 2 takes digests only, or has deletion switched off


class Registry:
    """Any registry; credentials come from `credentials_for` when a registry asks. Raises nothing but `RegistryError`.

    A reference with a digest means that digest, else its tag. What is read is verified against its digest.
    """

    def __init__(self, credentials_for: CredentialsFor, pause: Callable[[float], None] = time.sleep) -> None:
        self.credentials_for = credentials_for
        self.session = RegistrySession(credentials_for, pause)  # also for what is no image: blobs, referrers

    def head(self, reference: ImageReference) -> Descriptor | None:
        """What stands under the reference, or None; the manifest is read only where the headers tell not enough."""
        answer = self.session.send(RegistryRequest(reference, "HEAD", _manifest_path(reference), _ACCEPT))
        if answer.status == 404:
            return None
        require_status(answer, (200,), f'look up "{reference}"')
        digest, media_type = answer.content_digest, _media_type(answer)
        if not (digest and media_type and answer.length):  # a registry or a proxy before it may leave any of them out
            return self.manifest(reference).descriptor
        verify_digest(reference, reference.digest, digest)
        return Descriptor(digest, media_type, answer.length)

    def find(self, reference: ImageReference) -> Manifest | None:
        """The manifest under the reference, or None when there is none."""
        answer = self.session.send(RegistryRequest(reference, "GET", _manifest_path(reference), _ACCEPT))
        if answer.status == 404:
            return None
        require_status(answer, (200,), f'read the manifest of "{reference}"')
        if not answer.body:
            raise RegistryError(f'the registry sent an empty manifest for "{reference}"', document.STRANGER)
        manifest = Manifest(answer.body, _media_type(answer))
        for claimed in (reference.digest, answer.content_digest):
            verify_digest(reference, claimed, manifest.digest)
        return manifest

    def manifest(self, reference: ImageReference) -> Manifest:
        """As `find`; raises `UnknownImageError` when there is none."""
        manifest = self.find(reference)
        if manifest is None:
            raise UnknownImageError(f'"{reference}" does not exist', "Check the repository, the tag and the region.")
        return manifest

    def config(self, reference: ImageReference, manifest: Manifest) -> Mapping[str, Any]:
        """The image's configuration, which holds its labels, environment and layers' diff IDs."""
        digest = manifest.config.digest
        answer = self.session.send(RegistryRequest(reference, "GET", f"blobs/{digest}"))
        require_status(answer, (200,), f'read the configuration of "{reference}"')
        verify_digest(reference, digest, f"sha256:{hashlib.sha256(answer.body).hexdigest()}")
        return document.parse(answer.body, f'the configuration "{digest}" of "{reference}"', CONFIGURATION)

    def put_manifest(self, reference: ImageReference, manifest: Manifest) -> ImageReference:
        """Put `manifest` under the reference's tag, or under its digest alone where there is no tag, in one step.

        Returns the reference with the manifest's digest. A reference by digest must carry the manifest's own.
        """
        if not reference.tag:
            verify_digest(reference, reference.digest, manifest.digest)
        path, headers = f"manifests/{reference.tag or manifest.digest}", {"Content-Type": manifest.media_type}
        answer = self.session.send(RegistryRequest(reference, "PUT", path, headers, manifest.content))
        require_status(answer, (200, 201, 202), f'put a manifest under "{reference}"')
        verify_digest(reference, answer.content_digest, manifest.digest)
        return reference.with_digest(manifest.digest)

    def tags(self, reference: ImageReference) -> tuple[str, ...]:
        """Of the whole repository, as the registry orders them; empty where there is no such repository."""
        tags: list[str] = []
        path, visited = f"tags/list?n={_TAGS_A_PAGE}", set[str]()
        while path and path not in visited:
            visited.add(path)
            answer = self.session.send(RegistryRequest(reference, "GET", path))
            if answer.status == 404:
                break
            require_status(answer, (200,), f'list the tags of "{reference.name}"')
            what = f'the list of tags of "{reference.name}"'
            listed = document.parse(answer.body, what, {"tags": [str]}).get("tags") or []
            if not all(map(is_tag, listed)):
                raise RegistryError(f"{what} holds what is no tag", document.STRANGER)
            tags += listed
            path = answer.next_page
        return tuple(dict.fromkeys(tags))

    def delete(self, reference: ImageReference) -> bool:
        """Delete the image under the reference's digest, and with it its tags; False where this registry cannot.

        One that is not there is no error.
        """
        return self._delete(reference, reference.pinned.digest, f'delete "{reference.pinned}"')

    def remove_tag(self, reference: ImageReference) -> bool:
        """Take the tag away, leaving its image; False where this registry cannot. A missing tag is no error."""
        return self._delete(reference, reference.tag, f'remove the tag "{reference}"')

    def _delete(self, reference: ImageReference, name: str, what: str) -> bool:
        answer = self.session.send(RegistryRequest(reference, "DELETE", f"manifests/{name}"))
        if answer.status in _UNDELETABLE:
            return False
        require_status(answer, (200, 202, 404), what)
        return True


def _manifest_path(reference: ImageReference) -> str:
    return f"manifests/{reference.digest or reference.tag or 'latest'}"


def _media_type(answer: RegistryAnswer) -> str:
    return answer.headers.get("Content-Type", "").partition(";")[0].strip()


def find_image(registry: Registry, reference: ImageReference, architecture: str = "amd64") -> RemoteImage | None:
    """As `load_image`, or None where there is none."""
    manifest = registry.find(reference)
    return None if manifest is None else _image(registry, reference, manifest, architecture)


def load_image(registry: Registry, reference: ImageReference, architecture: str = "amd64") -> RemoteImage:
    """The image under `reference`, of an index the one for linux on `architecture`; raises `RegistryError` where there
    is none."""
    return _image(registry, reference, registry.manifest(reference), architecture)


def _image(registry: Registry, reference: ImageReference, manifest: Manifest, architecture: str) -> RemoteImage:
    if manifest.is_index:
        manifest = registry.manifest(reference.with_digest(select(manifest, architecture).digest))
    return RemoteImage(reference.with_digest(manifest.digest), manifest, registry.config(reference, manifest))


def load_base(registry: Registry, reference: ImageReference, architecture: str) -> RemoteImage:
    """As `load_image`; raises `BaseImageError` where it is for another architecture, whatever its tag or digest
    promised."""
    image = load_image(registry, reference, architecture)
    if image.architecture != architecture:
        raise BaseImageError(
            f'"{reference}" is built for "{image.architecture}" and not for "{architecture}"',
            f"Pass --arch {image.architecture or 'ARCH'}, or name another image.",
        )
    return image
