"""Where the image of a spec is published: in ECR, the repository made where it is missing, or in another registry."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from xgbpatch.aws import AwsRegion, RepositoryOptions
from xgbpatch.errors import ConfigurationError
from xgbpatch.reference import ImageReference
from xgbpatch.spec import Spec

_ACCOUNT = re.compile(r"\d{12}")


@dataclass(frozen=True)
class PublishTarget:
    """What the command line says: the host of a private registry, or the account whose ECR is meant (empty: the
    caller's own). The region is the spec's."""

    registry: str = ""
    account: str = ""

    def __post_init__(self) -> None:
        if self.account and not _ACCOUNT.fullmatch(self.account):
            raise ConfigurationError(f'--account "{self.account}" is not an AWS account', "It has 12 digits.")
        if self.registry and self.account:
            raise ConfigurationError("--registry is for a registry outside ECR", "Leave out --account.")


def destination_of(spec: Spec, shelf: PublishTarget) -> ImageReference:
    """Host and repository, without a tag. Asks STS for the caller's account where none is named.

    Raises `ConfigurationError` where no region is known, and `AwsError`.
    """
    if shelf.registry:
        return ImageReference.parse(f"{shelf.registry}/{spec.repository}")
    if not spec.region:
        raise ConfigurationError("no AWS region is known", "Give --region, or set XGBPATCH_REGION or AWS_REGION.")
    from xgbpatch.aws import AwsRegion

    door = AwsRegion(spec.region)
    host = door.registry_host(shelf.account or door.identity().account)
    return replace(ImageReference("", spec.repository), host=host)


# Making sure of a repository: ECR creates none by itself; other registries do, or refuse in their own words.


def ensure_repository(destination: ImageReference, options: RepositoryOptions) -> bool:
    """Create the ECR repository of `destination` where it is missing; returns whether this call did."""
    registry = destination.ecr
    if registry is None:
        return False
    return AwsRegion(registry.region).ensure_repository(registry.account, destination.repository, options)
