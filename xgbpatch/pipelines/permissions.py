"""What xgbpatch asks of AWS, as IAM actions: the roles in the templates are allowed these and no more."""

from __future__ import annotations

from xgbpatch.image_tables import ShippedTable

PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
PUSH = (
    *PULL,
    "ecr:BatchDeleteImage",  # a push that failed takes its tag away again, and `prune`
    "ecr:CompleteLayerUpload",
    "ecr:DescribeImageScanFindings",
    "ecr:DescribeImages",
    "ecr:DescribeRepositories",
    "ecr:InitiateLayerUpload",
    "ecr:ListImages",
    "ecr:PutImage",
    "ecr:StartImageScan",
    "ecr:UploadLayerPart",
)
USAGE = (
    "sagemaker:DescribeEndpoint",
    "sagemaker:DescribeEndpointConfig",
    "sagemaker:DescribeHyperParameterTuningJob",
    "sagemaker:DescribeInferenceComponent",
    "sagemaker:DescribeModel",
    "sagemaker:DescribeModelPackage",
    "sagemaker:DescribePipeline",
    "sagemaker:DescribeProcessingJob",
    "sagemaker:DescribeTrainingJob",
    "sagemaker:ListEndpoints",
    "sagemaker:ListHyperParameterTuningJobs",
    "sagemaker:ListInferenceComponents",
    "sagemaker:ListModelPackages",
    "sagemaker:ListModels",
    "sagemaker:ListPipelines",
    "sagemaker:ListProcessingJobs",
    "sagemaker:ListTrainingJobs",
)


def base_accounts() -> tuple[tuple[str, str], ...]:
    """Region and account of each registry that AWS publishes its images from."""
    hosts = ShippedTable.load().hosts
    return tuple((region, host.split(".", 1)[0]) for region, host in sorted(hosts.items()))
