"""ECR: tokens, repositories, layers, images and scans of one region."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache, cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

from xgbpatch import catalogue
from xgbpatch.aws.session import client_config, code, data_loader, is_denial, session, translated
from xgbpatch.errors import AwsError, ConfigurationError
from xgbpatch.oci.manifest import Manifest
from xgbpatch.reference import Credentials, ImageReference

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_ecr.type_defs import CreateRepositoryRequestTypeDef
    from mypy_boto3_sts import STSClient

_CREATION = Lock()  # clients are for many threads, the session that makes them is for one
_EARLY = timedelta(minutes=15)  # a token must outlive the push that it starts


@dataclass(frozen=True)
class Identity:
    """Who AWS takes us for."""

    account: str
    arn: str

    @property
    def partition(self) -> str:
        """`aws`, `aws-cn`, `aws-us-gov`, …"""
        return self.arn.split(":")[1]


@dataclass(frozen=True)
class RepositoryOptions:
    """How a missing repository is created; one that exists keeps its own settings.

    `kms_key` is a key's ARN, ID or alias, empty for AES-256; `tags` are AWS resource tags.
    """

    scan_on_push: bool = True
    immutable_tags: bool = False
    kms_key: str = ""
    tags: tuple[tuple[str, str], ...] = ()


class AwsRegion:
    """ECR and STS of one region, with the credentials that boto3 finds. Raises nothing but `AwsError`, and
    `ConfigurationError` for a name that no region has."""

    def __init__(self, region: str) -> None:
        self.region = region
        self._tokens: dict[str, tuple[Credentials, datetime]] = {}

    def identity(self) -> Identity:
        """The account and principal behind the credentials."""
        with translated("sts:GetCallerIdentity", self.region):
            answer = self._sts.get_caller_identity()
            return Identity(answer["Account"], answer["Arn"])

    @property
    def endpoint(self) -> str:
        """The URL at which STS is asked."""
        with translated("sts", self.region):
            return str(self._sts.meta.endpoint_url)

    def registry_credentials(self, account: str) -> Credentials:
        """User and token for `account`'s registry in this region; asked again shortly before the 12 hours end.

        `registryIds` is deprecated and still what Amazon's own credential helper sends: without it the token is issued
        for the caller's registry, and the base stands in AWS's.
        """
        if account not in self._tokens or self._tokens[account][1] < datetime.now(timezone.utc):
            with translated("ecr:GetAuthorizationToken", self.registry_host(account)):
                data = self._ecr.get_authorization_token(registryIds=[account])["authorizationData"][0]
                username, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
                self._tokens[account] = Credentials(username, password), data["expiresAt"] - _EARLY
        return self._tokens[account][0]

    def ensure_repository(self, account: str, name: str, options: RepositoryOptions) -> bool:
        """Create the repository when it is missing; returns whether this call did.

        A refusal never means missing: a role that may push need not be one that may look. The registry tells then.
        """
        place = f"{self.registry_host(account)}/{name}"
        with translated("ecr:DescribeRepositories", place):
            try:
                self._ecr.describe_repositories(registryId=account, repositoryNames=[name])
            except self._ecr.exceptions.RepositoryNotFoundException:
                pass
            except self._ecr.exceptions.ClientError as error:
                if not is_denial(error):
                    raise
                return False
            else:
                return False
        request: CreateRepositoryRequestTypeDef = {
            "registryId": account,
            "repositoryName": name,
            "imageScanningConfiguration": {"scanOnPush": options.scan_on_push},
            "imageTagMutability": "IMMUTABLE" if options.immutable_tags else "MUTABLE",
            "tags": [{"Key": key, "Value": value} for key, value in options.tags],
        }
        if options.kms_key:
            request["encryptionConfiguration"] = {"encryptionType": "KMS", "kmsKey": options.kms_key}
        with translated("ecr:CreateRepository", place):
            try:
                self._ecr.create_repository(**request)
            except self._ecr.exceptions.RepositoryAlreadyExistsException:  # somebody else's push came between
                return False
        return True

    def remove_tag(self, account: str, name: str, tag: str) -> bool:
        """Take `tag` off its image (the image goes with its last tag); returns whether the tag was there."""
        with translated("ecr:BatchDeleteImage", f"{self.registry_host(account)}/{name}:{tag}"):
            answer = self._ecr.batch_delete_image(
                registryId=account, repositoryName=name, imageIds=[{"imageTag": tag}]
            )  # fmt: skip
            return bool(answer["imageIds"])

    def layers(self, account: str, repository: str) -> EcrRepositoryApi:
        """Blobs and manifests of one repository."""
        return EcrRepositoryApi(self._ecr, account, repository, f"{self.registry_host(account)}/{repository}")

    def registry_host(self, account: str) -> str:
        """`<account>.dkr.ecr.<region>.<the partition's own domain>`."""
        return f"{account}.dkr.ecr.{self.region}.{_partition(self.region)['outputs']['dnsSuffix']}"

    def registry_hosts(self, account: str) -> tuple[str, ...]:
        """All names of that registry: with `ecr-fips`, and those that answer over IPv6 too (`dkr-ecr`, `on.aws`), as
        AWS's credential provider for Kubernetes matches them (kubernetes/cloud-provider-aws, pull request 1069)."""
        own, outputs = self.registry_host(account), _partition(self.region)["outputs"]
        hosts = [own]
        if outputs.get("supportsDualStack"):
            hosts.append(f"{account}.dkr-ecr.{self.region}.on.{outputs['dualStackDnsSuffix'].removeprefix('api.')}")
        return (*hosts, *(re.sub(r"\.dkr([.-])ecr\.", r".dkr\1ecr-fips.", host) for host in hosts))

    @cached_property
    def _session(self) -> boto3.Session:
        return session(self.region)

    @cached_property
    def _ecr(self) -> ECRClient:
        with _CREATION:
            return self._session.client("ecr", config=client_config())

    @cached_property
    def _sts(self) -> STSClient:
        with _CREATION:
            return self._session.client("sts", config=client_config())


def configured_region() -> str:
    """The region of the environment or of the AWS profile, as the AWS CLI finds it; empty where there is none."""
    import boto3

    with translated("read the configuration", os.environ.get("AWS_PROFILE", "default")):
        return os.environ.get("AWS_REGION") or boto3.Session().region_name or ""


def partition(region: str) -> str:
    """The partition (`aws`, `aws-cn`, …) that a region belongs to; raises `ConfigurationError` for a name AWS cannot
    have."""
    return str(_partition(region)["id"])


@cache
def _partition(region: str) -> dict[str, Any]:
    for candidate in _partitions():
        if region in candidate["regions"] or re.match(candidate["regionRegex"], region):
            return candidate
    raise ConfigurationError(f'"{region}" is not an AWS region', "Write it as us-west-2.")


def require_region(region: str) -> None:
    """Raises `ConfigurationError` for a name that is no region of AWS. One that has opened since the table of official
    images was made is one: to push to, though there is no image to take from it."""
    try:
        catalogue.check_region(region)
    except ConfigurationError:
        if not any(region in candidate["regions"] for candidate in _partitions()):
            raise


def _partitions() -> list[dict[str, Any]]:
    partitions: list[dict[str, Any]] = data_loader().load_data("partitions")["partitions"]
    return partitions


# Layers and manifests of one ECR repository, by ECR's own calls.


class EcrRepositoryApi:
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
        last = first + len(part) - 1
        with translated("ecr:UploadLayerPart", self._name):
            try:
                answer = self._ecr.upload_layer_part(
                    uploadId=upload, partFirstByte=first, partLastByte=last, layerPartBlob=part, **self._place
                )  # fmt: skip
            except self._ecr.exceptions.InvalidLayerPartException as error:
                refusal: Any = error.response
                return int(refusal.get("lastValidByteReceived", -1)) + 1
            except self._ecr.exceptions.UploadNotFoundException:
                return None
            return answer["lastByteReceived"] + 1

    def finish(self, upload: str, digest: str) -> bool:
        """Make the layer visible; False where ECR knows no such upload. That the layer exists already is fine."""
        with translated("ecr:CompleteLayerUpload", f"{self._name}@{digest}"):
            try:
                self._ecr.complete_layer_upload(uploadId=upload, layerDigests=[digest], **self._place)
            except self._ecr.exceptions.UploadNotFoundException:
                return False
            except self._ecr.exceptions.LayerAlreadyExistsException:
                pass
            return True

    def put(self, manifest: Manifest, tag: str) -> bool:
        """Put a manifest under `tag`, or its digest alone where that is empty. False where the tag is immutable and
        another image's; that it exists already is fine."""
        tagged: Any = {"imageTag": tag} if tag else {}
        with translated("ecr:PutImage", f"{self._name}:{tag}" if tag else f"{self._name}@{manifest.digest}"):
            try:
                self._ecr.put_image(
                    imageManifest=manifest.content.decode(), imageManifestMediaType=manifest.media_type,
                    imageDigest=manifest.digest, **tagged, **self._place,
                )  # fmt: skip
            except self._ecr.exceptions.ImageTagAlreadyExistsException:
                return False
            except self._ecr.exceptions.ImageAlreadyExistsException:
                pass
            return True


# The images of one ECR repository: what it holds, deleting, and what its scans have found.


_BATCH = 100  # what BatchDeleteImage takes at once


@dataclass(frozen=True)
class EcrImage:
    """What the repository says of an image, an index or an artifact: `size` in bytes with shared layers."""

    digest: str
    tags: tuple[str, ...]
    pushed: datetime
    size: int


@dataclass(frozen=True, order=True)
class Vulnerability:
    """A known weakness in one version of one package; two of them are the same whatever their severity is called."""

    name: str
    package: str
    version: str


@dataclass(frozen=True)
class Scan:
    """`status` in ECR's words; `completed` and `source` are when the image was scanned and of when the list of known
    weaknesses is; `findings` maps to a severity in ECR's words; `announced` is how many findings ECR counts."""

    status: str
    description: str
    completed: datetime | None
    source: datetime | None
    findings: Mapping[Vulnerability, str]
    announced: int


class EcrImages:
    """One repository; raises nothing but `AwsError`."""

    def __init__(self, place: ImageReference) -> None:
        if place.ecr is None:
            raise ConfigurationError(f'"{place}" is not in ECR')
        self.place = place
        self._region = place.ecr.region
        self._repository: Any = {"registryId": place.ecr.account, "repositoryName": place.repository}

    def images(self) -> tuple[EcrImage, ...]:
        """All of them, untagged ones too; none where the repository is missing."""
        with translated("ecr:DescribeImages", self.place.name):
            try:
                pages = self._client.get_paginator("describe_images").paginate(**self._repository)
                details: list[Any] = [detail for page in pages for detail in page["imageDetails"]]
            except self._client.exceptions.RepositoryNotFoundException:
                return ()
            return tuple(
                EcrImage(
                    digest=detail["imageDigest"],
                    tags=tuple(detail.get("imageTags") or ()),
                    pushed=detail["imagePushedAt"],
                    size=int(detail.get("imageSizeInBytes") or 0),
                )
                for detail in details
            )

    def delete(self, images: Mapping[str, Sequence[str]]) -> Mapping[str, str]:
        """Delete images, given as their tags by digest; returns why ECR kept one, by digest. A missing one is no
        failure.

        ECR deletes an image with its last tag, so one that has a further tag stays. By its digest goes what has none.
        """
        owners = {tag: digest for digest, tags in images.items() for tag in tags}
        named: list[Any] = [{"imageTag": tag} for tag in owners]
        named += [{"imageDigest": digest} for digest, tags in images.items() if not tags]
        failures: dict[str, str] = {}
        for start in range(0, len(named), _BATCH):
            with translated("ecr:BatchDeleteImage", self.place.name):
                answer = self._client.batch_delete_image(**self._repository, imageIds=named[start : start + _BATCH])
            for failure in answer.get("failures") or ():
                if failure.get("failureCode") != "ImageNotFound":
                    what = failure.get("imageId", {})
                    digest = owners.get(what.get("imageTag", ""), what.get("imageDigest", ""))
                    failures[digest] = f"{failure.get('failureCode')}: {failure.get('failureReason', '')}"
        return failures

    def start_scan(self, digest: str) -> str:
        """Have the image scanned. Returns why ECR did not begin where it has one scan already (basic scanning does one
        in 24 hours) or begins by itself (enhanced scanning); empty where it has begun."""
        with translated("ecr:StartImageScan", f"{self.place.name}@{digest}"):
            refusals = self._beginner.exceptions
            try:
                self._beginner.start_image_scan(**self._repository, imageId={"imageDigest": digest})
            except (refusals.LimitExceededException, refusals.ValidationException) as error:
                return f"{code(error)}: {error.response.get('Error', {}).get('Message', '')}"
            return ""

    def scan(self, digest: str) -> Scan | None:
        """What ECR's newest scan of the image says so far, all pages; None where there was none yet."""
        with translated("ecr:DescribeImageScanFindings", f"{self.place.name}@{digest}"):
            try:
                paginator = self._client.get_paginator("describe_image_scan_findings")
                return _scan(list(paginator.paginate(**self._repository, imageId={"imageDigest": digest})))
            except self._client.exceptions.ScanNotFoundException:
                return None

    @cached_property
    def _client(self) -> ECRClient:
        return self._new_client(client_config())

    @cached_property
    def _beginner(self) -> ECRClient:
        """botocore's standard mode takes LimitExceededException for throttling, and would try four times."""
        from botocore.config import Config

        retries: Any = {"mode": "legacy", "total_max_attempts": 4}
        return self._new_client(client_config().merge(Config(retries=retries)))

    def _new_client(self, config: Any) -> ECRClient:
        with translated("ecr", self._region):
            return session(self._region).client("ecr", config=config)


def _scan(pages: Sequence[Any]) -> Scan:
    if not pages:
        raise AwsError("ECR told nothing about a scan")
    status = pages[0].get("imageScanStatus") or {}
    reports = [page.get("imageScanFindings") or {} for page in pages]
    findings = {weakness: severity for report in reports for weakness, severity in _findings(report)}
    return Scan(
        status=str(status.get("status", "")),
        description=str(status.get("description", "")),
        completed=reports[0].get("imageScanCompletedAt"),
        source=reports[0].get("vulnerabilitySourceUpdatedAt"),
        findings=findings,
        announced=sum((reports[0].get("findingSeverityCounts") or {}).values()),
    )


def _findings(report: Mapping[str, Any]) -> Iterator[tuple[Vulnerability, str]]:
    """Basic scanning's findings name one package in their attributes, enhanced scanning's (Inspector) list several."""
    for item in report.get("findings") or ():
        attributes = {pair.get("key"): pair.get("value", "") for pair in item.get("attributes") or ()}
        package, version = attributes.get("package_name", ""), attributes.get("package_version", "")
        yield Vulnerability(str(item.get("name", "")), package, version), str(item.get("severity", ""))
    for item in report.get("enhancedFindings") or ():
        details = item.get("packageVulnerabilityDetails") or {}
        name = str(details.get("vulnerabilityId") or item.get("title") or item.get("findingArn", ""))
        packages: Sequence[Mapping[str, str]] = details.get("vulnerablePackages") or ({},)
        for installed in packages:
            yield (
                Vulnerability(name, installed.get("name", ""), installed.get("version", "")),
                str(item.get("severity", "")),
            )
