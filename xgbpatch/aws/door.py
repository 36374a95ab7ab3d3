"""ECR's repositories and tokens, and who we are (STS)."""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache, cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

from xgbpatch.aws.access import client_config, code, session, translated
from xgbpatch.aws.ecr_blobs import EcrLayers
from xgbpatch.engine.values import Credentials
from xgbpatch.errors import AwsError

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_ecr.type_defs import AuthorizationDataTypeDef, CreateRepositoryRequestTypeDef
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


class AwsDoor:
    """ECR and STS of one region, with the credentials that boto3 finds. Raises nothing but `AwsError`."""

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
                answer = self._ecr.get_authorization_token(registryIds=[account])
                self._tokens[account] = _token(answer["authorizationData"])
        return self._tokens[account][0]

    def ensure_repository(self, account: str, name: str, options: RepositoryOptions) -> bool:
        """Create the repository when it is missing; returns whether this call did. A refusal never means missing."""
        return False if self._has_repository(account, name) else self._create_repository(account, name, options)

    def remove_tag(self, account: str, name: str, tag: str) -> bool:
        """Take `tag` off its image (the image goes with its last tag); returns whether the tag was there."""
        with translated("ecr:BatchDeleteImage", f"{self.registry_host(account)}/{name}:{tag}"):
            answer = self._ecr.batch_delete_image(
                registryId=account, repositoryName=name, imageIds=[{"imageTag": tag}]
            )  # fmt: skip
            return bool(answer["imageIds"])

    def layers(self, account: str, repository: str) -> EcrLayers:
        """Blobs and manifests of one repository."""
        return EcrLayers(self._ecr, account, repository, f"{self.registry_host(account)}/{repository}")

    def registry_host(self, account: str) -> str:
        """`<account>.dkr.ecr.<region>.<the partition's own domain>`."""
        return f"{account}.dkr.ecr.{self.region}.{_partition(self.region)['outputs']['dnsSuffix']}"

    def _has_repository(self, account: str, name: str) -> bool:
        from botocore.exceptions import ClientError

        with translated("ecr:DescribeRepositories", f"{self.registry_host(account)}/{name}"):
            try:
                self._ecr.describe_repositories(registryId=account, repositoryNames=[name])
            except ClientError as error:
                if code(error) == "RepositoryNotFoundException":
                    return False
                raise
            return True

    def _create_repository(self, account: str, name: str, options: RepositoryOptions) -> bool:
        from botocore.exceptions import ClientError

        with translated("ecr:CreateRepository", f"{self.registry_host(account)}/{name}"):
            try:
                self._ecr.create_repository(**_creation(account, name, options))
            except ClientError as error:
                if code(error) == "RepositoryAlreadyExistsException":  # somebody else's push came between
                    return False
                raise
            return True

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
    """The partition (`aws`, `aws-cn`, …) that a region belongs to; raises `AwsError` for a name AWS cannot have."""
    return str(_partition(region)["id"])


@cache
def _partitions() -> list[dict[str, Any]]:
    import botocore.session

    loader = botocore.session.get_session().get_component("data_loader")
    found: list[dict[str, Any]] = loader.load_data("partitions")["partitions"]
    return found


def _partition(region: str) -> dict[str, Any]:
    for candidate in _partitions():
        if region in candidate["regions"] or re.match(candidate["regionRegex"], region):
            return candidate
    raise AwsError(f'"{region}" is not an AWS region', "Write it as us-west-2; `xgbpatch versions` lists regions.")


def _token(data: list[AuthorizationDataTypeDef]) -> tuple[Credentials, datetime]:
    username, _, password = base64.b64decode(data[0]["authorizationToken"]).decode().partition(":")
    return Credentials(username, password), data[0]["expiresAt"] - _EARLY


def _creation(account: str, name: str, options: RepositoryOptions) -> CreateRepositoryRequestTypeDef:
    request: CreateRepositoryRequestTypeDef = {
        "registryId": account,
        "repositoryName": name,
        "imageScanningConfiguration": {"scanOnPush": options.scan_on_push},
        "imageTagMutability": "IMMUTABLE" if options.immutable_tags else "MUTABLE",
        "tags": [{"Key": key, "Value": value} for key, value in options.tags],
    }
    if options.kms_key:
        request["encryptionConfiguration"] = {"encryptionType": "KMS", "kmsKey": options.kms_key}
    return request
