"""The images of one ECR repository: what it holds, deleting, and what its scans have found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from xgbpatch.aws.access import client_config, code, session, translated
from xgbpatch.errors import AwsError, ConfigurationError
from xgbpatch.reference import ImageReference

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient

_BATCH = 100  # what BatchDeleteImage takes at once


@dataclass(frozen=True)
class EcrImage:
    """What the repository says of an image, an index or an artifact: `size` in bytes with shared layers."""

    digest: str
    tags: tuple[str, ...]
    pushed: datetime
    size: int


@dataclass(frozen=True)
class Vulnerability:
    """A known weakness in one version of one package; two of them are the same whatever their severity is called."""

    name: str
    package: str
    version: str


@dataclass(frozen=True)
class Scan:
    """`status` in ECR's words; `completed` and `source` are when the image was scanned and of when the list of known
    weaknesses is; `found` maps to a severity in ECR's words; `announced` is how many findings ECR counts."""

    status: str
    description: str
    completed: datetime | None
    source: datetime | None
    found: Mapping[Vulnerability, str]
    announced: int


class EcrImages:
    """One repository; raises nothing but `AwsError`."""

    def __init__(self, place: ImageReference) -> None:
        if place.ecr is None:
            raise ConfigurationError(f'"{place}" is not in ECR')
        self.place = place
        self._region = place.ecr.region
        self._account, self._name = place.ecr.account, place.repository

    def images(self) -> tuple[EcrImage, ...]:
        """All of them, untagged ones too; none where the repository is missing."""
        from botocore.exceptions import ClientError

        with translated("ecr:DescribeImages", self.place.name):
            try:
                pages = self._client.get_paginator("describe_images").paginate(**self._repository)
                return tuple(_image(detail) for page in pages for detail in page["imageDetails"])
            except ClientError as error:
                if code(error) == "RepositoryNotFoundException":
                    return ()
                raise

    def delete(self, images: Mapping[str, Sequence[str]]) -> Mapping[str, str]:
        """Delete images, given as their tags by digest; returns why ECR kept one, by digest. A missing one is no
        failure.

        ECR deletes an image with its last tag, so one that has a further tag stays. By its digest goes what has none.
        """
        owners = {tag: digest for digest, tags in images.items() for tag in tags}
        named: list[Any] = [{"imageTag": tag} for tag in owners]
        named += [{"imageDigest": digest} for digest, tags in images.items() if not tags]
        kept: dict[str, str] = {}
        for start in range(0, len(named), _BATCH):
            with translated("ecr:BatchDeleteImage", self.place.name):
                answer = self._client.batch_delete_image(**self._repository, imageIds=named[start : start + _BATCH])
            for failure in answer.get("failures") or ():
                if failure.get("failureCode") != "ImageNotFound":
                    what = failure.get("imageId", {})
                    digest = owners.get(what.get("imageTag", ""), what.get("imageDigest", ""))
                    kept[digest] = f"{failure.get('failureCode')}: {failure.get('failureReason', '')}"
        return kept

    def start_scan(self, digest: str) -> str:
        """Have the image scanned. Returns why ECR did not begin where it has one scan already (basic scanning does one
        in 24 hours) or begins by itself (enhanced scanning); empty where it has begun."""
        from botocore.exceptions import ClientError

        with translated("ecr:StartImageScan", f"{self.place.name}@{digest}"):
            try:
                self._beginner.start_image_scan(**self._repository, imageId={"imageDigest": digest})
            except ClientError as error:
                if code(error) not in ("LimitExceededException", "ValidationException"):
                    raise
                return f"{code(error)}: {error.response.get('Error', {}).get('Message', '')}"
            return ""

    def scan(self, digest: str) -> Scan | None:
        """What ECR's newest scan of the image says so far, all pages; None where there was none yet."""
        from botocore.exceptions import ClientError

        with translated("ecr:DescribeImageScanFindings", f"{self.place.name}@{digest}"):
            try:
                paginator = self._client.get_paginator("describe_image_scan_findings")
                return _scan(list(paginator.paginate(**self._repository, imageId={"imageDigest": digest})))
            except ClientError as error:
                if code(error) == "ScanNotFoundException":
                    return None
                raise

    @property
    def _repository(self) -> Any:
        return {"registryId": self._account, "repositoryName": self._name}

    @cached_property
    def _client(self) -> ECRClient:
        return self._made(client_config())

    @cached_property
    def _beginner(self) -> ECRClient:
        """botocore's standard mode takes LimitExceededException for throttling, and would try four times."""
        from botocore.config import Config

        retries: Any = {"mode": "legacy", "total_max_attempts": 4}
        return self._made(client_config().merge(Config(retries=retries)))

    def _made(self, config: Any) -> ECRClient:
        with translated("ecr", self._region):
            return session(self._region).client("ecr", config=config)


def _image(detail: Any) -> EcrImage:
    return EcrImage(
        detail["imageDigest"], tuple(detail.get("imageTags") or ()), detail["imagePushedAt"],
        int(detail.get("imageSizeInBytes") or 0),
    )  # fmt: skip


def _scan(pages: Sequence[Any]) -> Scan:
    if not pages:
        raise AwsError("ECR told nothing about a scan")
    status = pages[0].get("imageScanStatus") or {}
    reports = [page.get("imageScanFindings") or {} for page in pages]
    found = {weakness: severity for report in reports for weakness, severity in _found(report)}
    return Scan(
        status=str(status.get("status", "")),
        description=str(status.get("description", "")),
        completed=reports[0].get("imageScanCompletedAt"),
        source=reports[0].get("vulnerabilitySourceUpdatedAt"),
        found=found,
        announced=sum((reports[0].get("findingSeverityCounts") or {}).values()),
    )


def _found(report: Mapping[str, Any]) -> Iterator[tuple[Vulnerability, str]]:
    """Basic scanning's findings name one package in their attributes, enhanced scanning's (Inspector) list several."""
    for item in report.get("findings") or ():
        attributes = {pair.get("key"): pair.get("value", "") for pair in item.get("attributes") or ()}
        package, version = attributes.get("package_name", ""), attributes.get("package_version", "")
        yield Vulnerability(str(item.get("name", "")), package, version), str(item.get("severity", ""))
    for item in report.get("enhancedFindings") or ():
        details = item.get("packageVulnerabilityDetails") or {}
        name = str(details.get("vulnerabilityId") or item.get("title") or item.get("findingArn", ""))
        packages: Sequence[Mapping[str, str]] = details.get("vulnerablePackages") or ({},)
        for held in packages:
            yield Vulnerability(name, held.get("name", ""), held.get("version", "")), str(item.get("severity", ""))
