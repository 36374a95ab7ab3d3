"""Layers and manifests of one ECR repository, by ECR's own calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xgbpatch.aws.access import code, translated

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient


@dataclass(frozen=True)
class NewImage:
    """A manifest to be put; without a tag it stands under its digest alone."""

    content: bytes
    media_type: str
    digest: str
    tag: str = ""


class EcrLayers:
    """One repository, for several threads. Raises nothing but `AwsError`; `name` is what errors call it."""

    def __init__(self, ecr: ECRClient, account: str, repository: str, name: str) -> None:
        self._ecr = ecr
        self._place: Any = {"registryId": account, "repositoryName": repository}
        self._name = name

    def has(self, digest: str) -> bool:
        """Whether the layer is there and not archived."""
        with translated("ecr:BatchCheckLayerAvailability", self._name):
            answer = self._ecr.batch_check_layer_availability(layerDigests=[digest], **self._place)
            return any(layer.get("layerAvailability") == "AVAILABLE" for layer in answer.get("layers", ()))

    def url(self, digest: str) -> str:
        """Where the layer can be read for an hour, by whoever knows it: a secret."""
        with translated("ecr:GetDownloadUrlForLayer", f"{self._name}@{digest}"):
            return self._ecr.get_download_url_for_layer(layerDigest=digest, **self._place)["downloadUrl"]

    def begin(self) -> str:
        """A new upload's ID."""
        with translated("ecr:InitiateLayerUpload", self._name):
            return self._ecr.initiate_layer_upload(**self._place)["uploadId"]

    def send(self, upload: str, first: int, part: bytes) -> int | None:
        """Append `part`, which begins at byte `first`; how many bytes ECR then has, None where it knows no such upload.

        A part is taken as a whole or not at all; one that had already arrived is not appended twice.
        """
        from botocore.exceptions import ClientError

        last = first + len(part) - 1
        with translated("ecr:UploadLayerPart", self._name):
            try:
                taken = self._ecr.upload_layer_part(
                    uploadId=upload, partFirstByte=first, partLastByte=last, layerPartBlob=part, **self._place
                )  # fmt: skip
            except ClientError as error:
                if code(error) == "InvalidLayerPartException":
                    refusal: Any = error.response
                    return int(refusal.get("lastValidByteReceived", -1)) + 1
                if code(error) == "UploadNotFoundException":
                    return None
                raise
            return taken["lastByteReceived"] + 1

    def finish(self, upload: str, digest: str) -> bool:
        """Make the layer visible; False where ECR knows no such upload. That the layer exists already is fine."""
        from botocore.exceptions import ClientError

        with translated("ecr:CompleteLayerUpload", f"{self._name}@{digest}"):
            try:
                self._ecr.complete_layer_upload(uploadId=upload, layerDigests=[digest], **self._place)
            except ClientError as error:
                if code(error) == "UploadNotFoundException":
                    return False
                if code(error) != "LayerAlreadyExistsException":
                    raise
            return True

    def put(self, image: NewImage) -> bool:
        """Put a manifest; False where its tag is immutable and another image's. That it exists already is fine."""
        from botocore.exceptions import ClientError

        tag: Any = {"imageTag": image.tag} if image.tag else {}
        with translated("ecr:PutImage", f"{self._name}:{image.tag}" if image.tag else f"{self._name}@{image.digest}"):
            try:
                self._ecr.put_image(
                    imageManifest=image.content.decode(), imageManifestMediaType=image.media_type,
                    imageDigest=image.digest, **tag, **self._place,
                )  # fmt: skip
            except ClientError as error:
                if code(error) == "ImageTagAlreadyExistsException":
                    return False
                if code(error) != "ImageAlreadyExistsException":
                    raise
            return True
