"""The one door to AWS: nothing else imports `boto3`, and none of its objects or errors leaves this package."""

from xgbpatch.aws.door import AwsDoor, Identity, RepositoryOptions, configured_region, partition
from xgbpatch.aws.ecr_blobs import EcrLayers, NewImage
from xgbpatch.aws.ecr_images import EcrImage, EcrImages, Scan, Vulnerability
from xgbpatch.aws.sagemaker import Endpoint, Kind, Model, SageMaker, Use

__all__ = [
    "AwsDoor", "EcrImage", "EcrImages", "EcrLayers", "Endpoint", "Identity", "Kind", "Model", "NewImage",
    "RepositoryOptions", "SageMaker", "Scan", "Use", "Vulnerability", "configured_region", "partition",
]  # fmt: skip
