"""The one door to AWS: nothing else imports `boto3`, and none of its objects or errors leaves this package.

SageMaker is in `xgbpatch.aws.sagemaker`, S3 in `xgbpatch.aws.s3`: few commands ask them, and the others start without
them.
"""

from xgbpatch.aws.ecr import (
    AwsRegion,
    EcrImage,
    EcrImages,
    EcrRepositoryApi,
    Identity,
    RepositoryOptions,
    Scan,
    Vulnerability,
    configured_region,
    partition,
    require_region,
)

__all__ = [
    "AwsRegion", "EcrImage", "EcrImages", "EcrRepositoryApi", "Identity", "RepositoryOptions", "Scan",
    "Vulnerability", "configured_region", "partition", "require_region",
]  # fmt: skip
