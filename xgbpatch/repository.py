"""Making sure of a repository: ECR creates none by itself; other registries do, or refuse in their own words."""

from __future__ import annotations

from xgbpatch.aws import AwsDoor, RepositoryOptions
from xgbpatch.reference import ImageReference


def ensure(destination: ImageReference, options: RepositoryOptions) -> bool:
    """Create the ECR repository of `destination` where it is missing; returns whether this call did."""
    registry = destination.ecr
    if registry is None:
        return False
    return AwsDoor(registry.region).ensure_repository(registry.account, destination.repository, options)
