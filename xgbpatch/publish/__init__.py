"""Images into registries: push, aliases, the scan gate, and what is attached to an image.

Here is where the image of a spec goes: into ECR, the repository made where it is missing, or into another registry.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from xgbpatch.errors import ConfigurationError
from xgbpatch.reference import ImageReference
from xgbpatch.spec import PublishTarget, Spec

if TYPE_CHECKING:
    from xgbpatch.aws import RepositoryOptions


def destination_of(spec: Spec, publish_target: PublishTarget) -> ImageReference:
    """Host and repository, without a tag. Asks STS for the caller's account where none is named.

    Raises `ConfigurationError` where no region is known, and `AwsError`.
    """
    if publish_target.registry:
        return ImageReference.parse(f"{publish_target.registry}/{spec.repository}")
    if not spec.region:
        raise ConfigurationError("no AWS region is known", "Give --region, or set XGBPATCH_REGION or AWS_REGION.")
    from xgbpatch.aws import AwsRegion

    aws = AwsRegion(spec.region)
    host = aws.registry_host(publish_target.account or aws.identity().account)
    return replace(ImageReference("", spec.repository), host=host)


def ensure_repository(destination: ImageReference, options: RepositoryOptions) -> bool:
    """Create the ECR repository of `destination` where it is missing; returns whether this call did. Other registries
    create theirs by themselves, or refuse in their own words."""
    registry = destination.ecr
    if registry is None:
        return False
    from xgbpatch.aws import AwsRegion

    return AwsRegion(registry.region).ensure_repository(registry.account, destination.repository, options)
