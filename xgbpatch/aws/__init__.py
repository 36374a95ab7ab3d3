"""The one door to AWS: nothing else imports `boto3`, and none of its objects or errors leaves this package."""

from xgbpatch.aws.door import AwsDoor, Identity, RepositoryOptions, configured_region, partition

__all__ = ["AwsDoor", "Identity", "RepositoryOptions", "configured_region", "partition"]
