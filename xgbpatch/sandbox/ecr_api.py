"""ECR's calls that moto lacks or answers from records of its own, answered from the registries."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from threading import Lock, RLock
from typing import Any

import requests
from moto.ecr import models

from xgbpatch.sandbox import registries
from xgbpatch.sandbox.state import RegistryHost, SandboxState

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_INDEX, _IMAGE = "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class StoredRepository:
    """One repository of the registry whose store is `root`. It need not exist. Names were checked by the caller."""

    root: Path
    name: str

    @property
    def exists(self) -> bool:
        """Whether anything was ever pushed to it."""
        return self._home.is_dir()

    def tags(self) -> dict[str, str]:
        """Digests by tag."""
        digests = {link.parts[-3]: _read(link) for link in self._manifests.glob("tags/*/current/link")}
        return {tag: digest for tag, digest in digests.items() if digest}

    def images(self) -> dict[str, float]:
        """When each manifest was pushed (seconds since 1970), by digest, the oldest first."""
        links = self._manifests.glob("revisions/sha256/*/link")
        times = {digest: link.stat().st_mtime for link in links if (digest := _read(link))}
        return dict(sorted(times.items(), key=lambda one: one[1]))

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
        links = [*(f"tags/{tag}" for tag in tags), *(f"revisions/{digest.replace(':', '/')}" for digest in digests)]
        for path in links:
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


# What ECR's API writes goes into the registry by the registry's own HTTP API, which checks it.


_SECONDS = 120


def send(registry: RegistryHost, state: SandboxState, method: str, path: str, **what: Any) -> requests.Response:
    """A request to the registry's API; `path` is below /v2, or the address that an earlier answer gave."""
    url = path if path.startswith("https:") else f"https://{registry.host}/v2/{path}"
    with requests.Session() as session:
        session.trust_env = False  # neither a proxy nor another bundle of certificates
        login, authority = ("AWS", registry.password), str(state.authority)
        return session.request(method, url, auth=login, verify=authority, timeout=_SECONDS, **what)


class LayerUpload:
    """An upload so far: `parts` are the sizes of those that came. A client that gave up waiting may send one twice."""

    def __init__(self, registry: RegistryHost, repository: str, state: SandboxState) -> None:
        self.repository = repository
        self.parts: list[int] = []
        self._send = partial(send, registry, state)
        self._location = self._next("POST", f"{repository}/blobs/uploads/")
        self._lock = Lock()

    @property
    def size(self) -> int:
        return sum(self.parts)

    def append(self, first_byte: int, piece: bytes) -> bool:
        """Whether `piece` began where the last one had ended, and is there now."""
        with self._lock:
            if first_byte != self.size:
                return False
            binary = {"Content-Type": "application/octet-stream"}
            self._location = self._next("PATCH", self._location, headers=binary, data=piece)
            self.parts.append(len(piece))
            return True

    def finish(self, digest: str) -> bool:
        """Whether the registry found that digest in what was uploaded; the upload is over in either case."""
        answer = self._send("PUT", f"{self._location}{'&' if '?' in self._location else '?'}digest={digest}")
        if answer.status_code == 400:
            return False
        answer.raise_for_status()
        return True

    def _next(self, method: str, path: str, **what: Any) -> str:
        """Where the upload goes on after that request."""
        answer = self._send(method, path, **what)
        answer.raise_for_status()
        return answer.headers["Location"]


# ECR's calls on layers and images, answered from the registry itself.
#
# Which repositories there are, and how they are set, moto says. AWS's account has none there: its bases can be
# pulled, and nothing else.


_NAME = re.compile(r"(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*")
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"  # what ECR says of every layer
_ADVISED_PART, _LARGEST_PART, _SMALLEST_PART = 10 << 20, 20 << 20, 5 << 20

Answer = dict[str, Any]
Record = Any  # moto's Repository: what its attributes may hold differs from what they are declared as
_moto: Any = models


class EcrRefusal(Exception):
    """An error of ECR's: its name, its words, and the fields some of them carry."""

    def __init__(self, code: str, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.code = code
        self.body = {"__type": code, "message": message, **fields}


@dataclass(frozen=True)
class Names:
    """The images of a repository at some moment."""

    tags: frozenset[str] = frozenset()
    digests: frozenset[str] = frozenset()


def _names(record: Record) -> Names:
    tags = frozenset(tag for image in record.images for tag in image.image_tags)
    return Names(tags, frozenset(image.image_digest for image in record.images))


def _is_immutable(record: Record, tag: str) -> bool:
    """Whether that tag, once put, cannot be put on another image."""
    excluded = any(fnmatchcase(tag, one["filter"]) for one in record.image_tag_mutability_exclusion_filters or ())
    return bool(record.is_tag_immutable() != excluded)


def _record(registry: RegistryHost, name: str) -> Record | None:
    """moto's record of that repository."""
    return _moto.ecr_backends[registry.account][registry.region].repositories.get(name)


@dataclass(frozen=True)
class EcrCall:
    """A call that names a repository of one of the sandbox's registries: AWS's own (`in_base`), or the user's.

    `record` is moto's; None where moto knows no such repository, as in AWS's account. It has what images were put
    through moto's API; docker pushes to the registry without a word to it. The registry's store is right about what
    there is, and moto about what was deleted, and about scans.
    """

    arguments: Mapping[str, Any]
    registry: RegistryHost
    repository: StoredRepository
    record: Record | None
    in_base: bool

    @property
    def name(self) -> str:
        return self.repository.name

    @property
    def exists(self) -> bool:
        return self.repository.exists if self.in_base else self.record is not None

    @property
    def place(self) -> str:
        return f"in the repository with name '{self.name}' in the registry with id '{self.registry.account}'"

    def agree(self) -> Names:
        """Make moto know what the registry holds now; returns the names of that. What it knows of scans stays."""
        if self.record is None:
            return Names()
        tags, known = self.repository.tags(), {image.image_digest: image for image in self.record.images}
        self.record.images = [
            known.get(digest) or self._recorded(digest, pushed) for digest, pushed in self.repository.images().items()
        ]
        for image in self.record.images:
            image.image_tags = sorted(tag for tag, digest in tags.items() if digest == image.image_digest)
            image.image_tag = image.image_tags[-1] if image.image_tags else None
        return _names(self.record)

    def settle(self, before: Names) -> None:
        """Make the registry forget what moto forgot since: images, or the whole repository."""
        if self.record is None:
            return
        record = _record(self.registry, self.name)
        if record is None:
            self.repository.drop()
        else:
            after = _names(record)
            self.repository.remove(before.tags - after.tags, before.digests - after.digests)

    def _recorded(self, digest: str, pushed: float) -> Any:
        record: Any = self.record
        manifest = self.repository.manifest(digest)
        image = _moto.Image(
            record.account_id, None, manifest, record.name, media_type(manifest), digest, record.registry_id
        )
        image.image_pushed_at = int(pushed)
        if record.image_scanning_configuration.get("scanOnPush"):
            image.last_scan = datetime.fromtimestamp(pushed)  # moto compares it with the local day
        return image

    def answer(self, **fields: Any) -> Answer:
        """An answer that says which repository it is about, as most do."""
        return {"registryId": self.registry.account, "repositoryName": self.name, **fields}


@dataclass(frozen=True)
class Calls:
    """The calls that are answered here. `link` makes the URL at which a blob can be fetched."""

    state: SandboxState
    link: Callable[[EcrCall, str], str]
    uploads: dict[str, LayerUpload] = field(default_factory=dict)
    lock: RLock = field(default_factory=RLock)  # of moto's records

    def read(self, region: str, arguments: Mapping[str, Any]) -> EcrCall | None:
        """The call, or None where it names no repository of ours."""
        account, name = arguments.get("registryId") or self.state.account, str(arguments.get("repositoryName", ""))
        owners = [one for one in self.state.registries if (one.account, one.region) == (account, region)]
        if not owners or not _NAME.fullmatch(name):
            return None
        repository = StoredRepository(registries.store(owners[0], self.state), name)
        in_base = registries.is_base(owners[0], self.state)
        return EcrCall(arguments, owners[0], repository, None if in_base else _record(owners[0], name), in_base)

    def handler(self, operation: str, call: EcrCall) -> Callable[[EcrCall], Answer] | None:
        """What answers that operation here; None where moto does."""
        reading = {
            "BatchCheckLayerAvailability": _check_layers,
            "BatchGetImage": _get_images,
            "GetDownloadUrlForLayer": self._link_layer,
        }
        writing = {
            "InitiateLayerUpload": self._begin_upload,
            "UploadLayerPart": self._append_part,
            "CompleteLayerUpload": self._finish_upload,
            "PutImage": self._put_image,
        }
        if call.in_base and operation not in reading:
            return partial(_deny, operation)
        handler = {**reading, **writing}.get(operation)
        return _miss if handler and not call.exists else handler

    def _link_layer(self, call: EcrCall) -> Answer:
        digest = str(call.arguments.get("layerDigest"))
        if not call.repository.layer(digest):
            raise EcrRefusal("LayersNotFoundException", f"The layer with digest '{digest}' does not exist {call.place}")
        return {"downloadUrl": self.link(call, digest), "layerDigest": digest}

    def _begin_upload(self, call: EcrCall) -> Answer:
        name = secrets.token_hex(16)
        self.uploads[name] = LayerUpload(call.registry, call.name, self.state)
        return {"uploadId": name, "partSize": _ADVISED_PART}

    def _append_part(self, call: EcrCall) -> Answer:
        name, upload = self._upload(call)
        piece, first = base64.b64decode(call.arguments["layerPartBlob"]), call.arguments["partFirstByte"]
        if call.arguments["partLastByte"] != first + len(piece) - 1 or not 0 < len(piece) <= _LARGEST_PART:
            raise EcrRefusal("InvalidParameterException", f"a part of {len(piece)} bytes does not begin at {first} and "
                          f"end at {call.arguments['partLastByte']}, or is larger than {_LARGEST_PART}")  # fmt: skip
        if not upload.append(first, piece):
            fields = call.answer(uploadId=name, lastValidByteReceived=upload.size - 1)
            raise EcrRefusal("InvalidLayerPartException", f"The part does not begin at byte {upload.size}", **fields)
        return call.answer(uploadId=name, lastByteReceived=upload.size - 1)

    def _finish_upload(self, call: EcrCall) -> Answer:
        name, upload = self._upload(call)
        (digest,) = call.arguments["layerDigests"]
        if not upload.parts:
            raise EcrRefusal("EmptyUploadException", f"The upload '{name}' has no parts")
        if min(upload.parts[:-1], default=_SMALLEST_PART) < _SMALLEST_PART:
            raise EcrRefusal(
                "LayerPartTooSmallException", f"Layer parts must be at least {_SMALLEST_PART} bytes in size"
            )
        del self.uploads[name]
        if call.repository.layer(digest):
            raise EcrRefusal("LayerAlreadyExistsException", f"The layer '{digest}' already exists {call.place}")
        if not upload.finish(digest):
            raise EcrRefusal("InvalidLayerException", f"What was uploaded does not have the digest '{digest}'")
        return call.answer(uploadId=name, layerDigest=digest)

    def _upload(self, call: EcrCall) -> tuple[str, LayerUpload]:
        name = str(call.arguments.get("uploadId"))
        upload = self.uploads.get(name)
        if upload is None or upload.repository != call.name:
            raise EcrRefusal("UploadNotFoundException", f"Upload with id '{name}' could not be found {call.place}")
        return name, upload

    def _put_image(self, call: EcrCall) -> Answer:
        manifest, tag = str(call.arguments["imageManifest"]), str(call.arguments.get("imageTag", ""))
        digest = f"sha256:{hashlib.sha256(manifest.encode()).hexdigest()}"
        _require_new(call, digest, tag)
        _require_parts(call, manifest)
        kind = call.arguments.get("imageManifestMediaType") or media_type(manifest)
        path, headers = f"{call.name}/manifests/{tag or digest}", {"Content-Type": str(kind)}
        answer = send(call.registry, self.state, "PUT", path, headers=headers, data=manifest.encode())
        if not answer.ok:
            raise EcrRefusal("InvalidParameterException", f"The registry refused the manifest: {answer.text}")
        with self.lock:
            call.agree()
        return {"image": _image(call, digest, tag)}


def _check_layers(call: EcrCall) -> Answer:
    layers, failures = [], []
    for digest in call.arguments["layerDigests"]:
        if not _DIGEST.fullmatch(digest):
            words = f"Invalid layer digest '{digest}'"
            failures.append({"layerDigest": digest, "failureCode": "InvalidLayerDigest", "failureReason": words})
        elif file := call.repository.layer(digest):
            there = {"layerAvailability": "AVAILABLE", "layerSize": file.stat().st_size, "mediaType": _LAYER}
            layers.append({"layerDigest": digest, **there})
        else:
            layers.append({"layerDigest": digest, "layerAvailability": "UNAVAILABLE"})
    return {"layers": layers, "failures": failures}


def _get_images(call: EcrCall) -> Answer:
    images, failures = [], []
    for identifier in call.arguments["imageIds"]:
        tag = identifier.get("imageTag", "")
        if digest := call.repository.find(identifier.get("imageDigest", ""), tag):
            images.append(_image(call, digest, tag))
        else:
            words = "Requested image not found"
            failures.append({"imageId": identifier, "failureCode": "ImageNotFound", "failureReason": words})
    return {"images": images, "failures": failures}


def _image(call: EcrCall, digest: str, tag: str) -> Answer:
    manifest = call.repository.manifest(digest)
    named = {"imageDigest": digest, **({"imageTag": tag} if tag else {})}
    return call.answer(imageId=named, imageManifest=manifest, imageManifestMediaType=media_type(manifest))


def _require_new(call: EcrCall, digest: str, tag: str) -> None:
    if call.arguments.get("imageDigest") not in (None, digest):
        raise EcrRefusal("ImageDigestDoesNotMatchException", f"The manifest's digest is '{digest}'")
    standing = call.repository.tags().get(tag, "")
    if standing == digest or (not tag and digest in call.repository.images()):
        words = f"Image with digest '{digest}' and tag '{tag or 'null'}' already exists {call.place}"
        raise EcrRefusal("ImageAlreadyExistsException", words)
    if standing and call.record and _is_immutable(call.record, tag):
        words = f"The image tag '{tag}' already exists {call.place} and cannot be overwritten because it is immutable"
        raise EcrRefusal("ImageTagAlreadyExistsException", words)


def _require_parts(call: EcrCall, manifest: str) -> None:
    if missing := [digest for digest in blobs_of(manifest) if not call.repository.layer(digest)]:
        raise EcrRefusal(
            "LayersNotFoundException", f"Layers with digests '{', '.join(missing)}' do not exist {call.place}"
        )
    if missing := sorted(set(members_of(manifest)) - call.repository.images().keys()):
        words = f"Images with digests '{', '.join(missing)}' do not exist {call.place}"
        raise EcrRefusal("ReferencedImagesNotFoundException", words)


def _miss(call: EcrCall) -> Answer:
    words = f"The repository with name '{call.name}' does not exist in the registry with id '{call.registry.account}'"
    raise EcrRefusal("RepositoryNotFoundException", words)


def _deny(operation: str, call: EcrCall) -> Answer:
    """AWS's account with the official images allows others to pull, and nothing else."""
    words = f"User is not authorized to perform: ecr:{operation} {call.place}"
    raise EcrRefusal("AccessDeniedException", words)
