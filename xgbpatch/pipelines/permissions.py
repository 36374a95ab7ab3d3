"""What xgbpatch asks of AWS, as IAM actions: the roles in the templates are allowed these and no more."""

from __future__ import annotations

from xgbpatch.image_tables import ShippedTable

PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
KEEP = (  # `plan`, and `rebuild` without an engine of its own
    *PULL,  # the registry's list of referrers is BatchGetImage's too
    "ecr:CompleteLayerUpload",
    "ecr:DescribeImageScanFindings",
    "ecr:DescribeRepositories",
    "ecr:InitiateLayerUpload",
    "ecr:ListImages",
    "ecr:PutImage",
    "ecr:StartImageScan",
    "ecr:UploadLayerPart",
)
PUSH = ("ecr:BatchDeleteImage",)  # beside KEEP: a push out of an engine lands under a tag that is taken away again
PRUNE = ("ecr:BatchDeleteImage", "ecr:DescribeImages")
USAGE = (  # `usage`, and `prune` with PRUNE: for people, not for a job
    "sagemaker:DescribeAlgorithm",
    "sagemaker:DescribeEndpoint",
    "sagemaker:DescribeEndpointConfig",
    "sagemaker:DescribeHyperParameterTuningJob",
    "sagemaker:DescribeInferenceComponent",
    "sagemaker:DescribeModel",
    "sagemaker:DescribeModelPackage",
    "sagemaker:DescribePipeline",
    "sagemaker:DescribeProcessingJob",
    "sagemaker:DescribeTrainingJob",
    "sagemaker:ListAlgorithms",
    "sagemaker:ListEndpoints",
    "sagemaker:ListHyperParameterTuningJobs",
    "sagemaker:ListInferenceComponents",
    "sagemaker:ListModelPackages",
    "sagemaker:ListModels",
    "sagemaker:ListPipelines",
    "sagemaker:ListProcessingJobs",
    "sagemaker:ListTrainingJobs",
)
INSPECTOR = ("inspector2:ListCoverage", "inspector2:ListFindings")  # beside KEEP, where ECR's scanning is enhanced


def base_accounts() -> tuple[tuple[str, str], ...]:
    """Region and account of each registry that AWS publishes its images from."""
    hosts = ShippedTable.load().hosts
    return tuple((region, host.split(".", 1)[0]) for region, host in sorted(hosts.items()))
