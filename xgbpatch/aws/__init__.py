"""The one door to AWS: nothing else imports `boto3`, and none of its objects or errors leaves this package.

SageMaker is in `xgbpatch.aws.sagemaker`: few commands ask it, and the others start without it.
"""

from xgbpatch.aws.door import AwsDoor, Identity, RepositoryOptions, configured_region, partition
from xgbpatch.aws.ecr_blobs import EcrLayers, NewImage
from xgbpatch.aws.ecr_images import EcrImage, EcrImages, Scan, Vulnerability

__all__ = [
    "AwsDoor", "EcrImage", "EcrImages", "EcrLayers", "Identity", "NewImage", "RepositoryOptions", "Scan",
    "Vulnerability", "configured_region", "partition",
]  # fmt: skip
