"""ECR's calls on layers and images, answered from the registry itself.

Which repositories there are, and how they are set, moto says. AWS's account has none there: its bases can be pulled,
and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from threading import RLock
from typing import Any

from xgbpatch.sandbox import ecr_records as records
from xgbpatch.sandbox import registries
from xgbpatch.sandbox.ecr_store import Repository, blobs_of, media_type, members_of
from xgbpatch.sandbox.ecr_uploads import Upload, Writer
from xgbpatch.sandbox.state import RegistryHost, SandboxState

_NAME = re.compile(r"(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"  # what ECR says of every layer
_ADVISED_PART, _LARGEST_PART, _SMALLEST_PART = 10 << 20, 20 << 20, 5 << 20

Answer = dict[str, Any]


class Refusal(Exception):
    """An error of ECR's: its name, its words, and the fields some of them carry."""

    def __init__(self, code: str, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.code = code
        self.body = {"__type": code, "message": message, **fields}


@dataclass(frozen=True)
class Call:
    """A call that names a repository of one of the sandbox's registries: AWS's own (`in_base`), or the user's.

    `record` is moto's; None where moto knows no such repository, as in AWS's account.
    """

    arguments: Mapping[str, Any]
    registry: RegistryHost
    repository: Repository
    record: records.Record | None
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

    def agree(self) -> records.Names:
        """Make moto know what the registry holds now; returns the names of that."""
        return records.agree(self.record, self.repository) if self.record else records.Names()

    def settle(self, before: records.Names) -> None:
        """Make the registry forget what moto forgot since."""
        if self.record:
            records.settle(records.find(self.registry, self.name), self.repository, before)

    def answer(self, **fields: Any) -> Answer:
        """An answer that says which repository it is about, as most do."""
        return {"registryId": self.registry.account, "repositoryName": self.name, **fields}


@dataclass(frozen=True)
class Calls:
    """The calls that are answered here. `link` makes the URL at which a blob can be fetched."""

    state: SandboxState
    link: Callable[[Call, str], str]
    uploads: dict[str, Upload] = field(default_factory=dict)
    lock: RLock = field(default_factory=RLock)  # of moto's records

    def read(self, region: str, arguments: Mapping[str, Any]) -> Call | None:
        """The call, or None where it names no repository of ours."""
        account, name = arguments.get("registryId") or self.state.account, str(arguments.get("repositoryName", ""))
        found = [one for one in self.state.registries if (one.account, one.region) == (account, region)]
        if not found or not _NAME.fullmatch(name):
            return None
        repository = Repository(registries.store(found[0], self.state), name)
        in_base = registries.is_base(found[0], self.state)
        return Call(arguments, found[0], repository, None if in_base else records.find(found[0], name), in_base)

    def handler(self, operation: str, call: Call) -> Callable[[Call], Answer] | None:
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
        found = {**reading, **writing}.get(operation)
        return _miss if found and not call.exists else found

    def _link_layer(self, call: Call) -> Answer:
        digest = str(call.arguments.get("layerDigest"))
        if not call.repository.layer(digest):
            raise Refusal("LayersNotFoundException", f"The layer with digest '{digest}' does not exist {call.place}")
        return {"downloadUrl": self.link(call, digest), "layerDigest": digest}

    def _begin_upload(self, call: Call) -> Answer:
        name = secrets.token_hex(16)
        self.uploads[name] = Upload(call.name, self._writer(call))
        return {"uploadId": name, "partSize": _ADVISED_PART}

    def _append_part(self, call: Call) -> Answer:
        name, upload = self._upload(call)
        piece, first = base64.b64decode(call.arguments["layerPartBlob"]), call.arguments["partFirstByte"]
        if call.arguments["partLastByte"] != first + len(piece) - 1 or not 0 < len(piece) <= _LARGEST_PART:
            raise Refusal("InvalidParameterException", f"a part of {len(piece)} bytes does not begin at {first} and "
                          f"end at {call.arguments['partLastByte']}, or is larger than {_LARGEST_PART}")  # fmt: skip
        if not upload.append(first, piece):
            fields = call.answer(uploadId=name, lastValidByteReceived=upload.size - 1)
            raise Refusal("InvalidLayerPartException", f"The part does not begin at byte {upload.size}", **fields)
        return call.answer(uploadId=name, lastByteReceived=upload.size - 1)

    def _finish_upload(self, call: Call) -> Answer:
        name, upload = self._upload(call)
        (digest,) = call.arguments["layerDigests"]
        if not upload.parts:
            raise Refusal("EmptyUploadException", f"The upload '{name}' has no parts")
        if min(upload.parts[:-1], default=_SMALLEST_PART) < _SMALLEST_PART:
            raise Refusal("LayerPartTooSmallException", f"Layer parts must be at least {_SMALLEST_PART} bytes in size")
        del self.uploads[name]
        if call.repository.layer(digest):
            raise Refusal("LayerAlreadyExistsException", f"The layer '{digest}' already exists {call.place}")
        if not upload.finish(digest):
            raise Refusal("InvalidLayerException", f"What was uploaded does not have the digest '{digest}'")
        return call.answer(uploadId=name, layerDigest=digest)

    def _upload(self, call: Call) -> tuple[str, Upload]:
        name = str(call.arguments.get("uploadId"))
        upload = self.uploads.get(name)
        if upload is None or upload.repository != call.name:
            raise Refusal("UploadNotFoundException", f"Upload with id '{name}' could not be found {call.place}")
        return name, upload

    def _put_image(self, call: Call) -> Answer:
        manifest, tag = str(call.arguments["imageManifest"]), str(call.arguments.get("imageTag", ""))
        digest = f"sha256:{hashlib.sha256(manifest.encode()).hexdigest()}"
        _require_new(call, digest, tag)
        _require_parts(call, manifest)
        kind = call.arguments.get("imageManifestMediaType") or media_type(manifest)
        if refused := self._writer(call).put(call.name, tag or digest, manifest, kind):
            raise Refusal("InvalidParameterException", f"The registry refused the manifest: {refused}")
        with self.lock:
            call.agree()
        return {"image": _image(call, digest, tag)}

    def _writer(self, call: Call) -> Writer:
        return Writer(call.registry, self.state)


def _check_layers(call: Call) -> Answer:
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


def _get_images(call: Call) -> Answer:
    images, failures = [], []
    for asked in call.arguments["imageIds"]:
        tag = asked.get("imageTag", "")
        if digest := call.repository.find(asked.get("imageDigest", ""), tag):
            images.append(_image(call, digest, tag))
        else:
            words = "Requested image not found"
            failures.append({"imageId": asked, "failureCode": "ImageNotFound", "failureReason": words})
    return {"images": images, "failures": failures}


def _image(call: Call, digest: str, tag: str) -> Answer:
    manifest = call.repository.manifest(digest)
    named = {"imageDigest": digest, **({"imageTag": tag} if tag else {})}
    return call.answer(imageId=named, imageManifest=manifest, imageManifestMediaType=media_type(manifest))


def _require_new(call: Call, digest: str, tag: str) -> None:
    if call.arguments.get("imageDigest") not in (None, digest):
        raise Refusal("ImageDigestDoesNotMatchException", f"The manifest's digest is '{digest}'")
    standing = call.repository.tags().get(tag, "")
    if standing == digest or (not tag and digest in call.repository.images()):
        words = f"Image with digest '{digest}' and tag '{tag or 'null'}' already exists {call.place}"
        raise Refusal("ImageAlreadyExistsException", words)
    if standing and call.record and records.is_immutable(call.record, tag):
        words = f"The image tag '{tag}' already exists {call.place} and cannot be overwritten because it is immutable"
        raise Refusal("ImageTagAlreadyExistsException", words)


def _require_parts(call: Call, manifest: str) -> None:
    if missing := [digest for digest in blobs_of(manifest) if not call.repository.layer(digest)]:
        raise Refusal(
            "LayersNotFoundException", f"Layers with digests '{', '.join(missing)}' do not exist {call.place}"
        )
    if missing := sorted(set(members_of(manifest)) - call.repository.images().keys()):
        words = f"Images with digests '{', '.join(missing)}' do not exist {call.place}"
        raise Refusal("ReferencedImagesNotFoundException", words)


def _miss(call: Call) -> Answer:
    words = f"The repository with name '{call.name}' does not exist in the registry with id '{call.registry.account}'"
    raise Refusal("RepositoryNotFoundException", words)


def _deny(operation: str, call: Call) -> Answer:
    """AWS lets nobody else into the account of its images but to pull."""
    words = f"User is not authorized to perform: ecr:{operation} {call.place}"
    raise Refusal("AccessDeniedException", words)
