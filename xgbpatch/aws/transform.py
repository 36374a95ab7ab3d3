"""Batch transform jobs of one region: described, started, and the models that they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from xgbpatch.aws.sagemaker import is_missing
from xgbpatch.aws.session import client_config, session, translated

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

Request = Mapping[str, Any]  # members of an operation, as botocore's service model has them


@dataclass(frozen=True)
class TransformJob:
    """`status` is SageMaker's: InProgress, Completed, Failed, Stopping or Stopped; `reason` is why it failed."""

    name: str
    status: str
    reason: str = ""

    @property
    def ended_badly(self) -> bool:
        return self.status in ("Failed", "Stopped")


class TransformJobs:
    """Raises nothing but `AwsError`: botocore holds each request to the service's model before it is sent."""

    def __init__(self, region: str) -> None:
        self.region = region

    def job(self, name: str) -> TransformJob | None:
        """None where there is no such job."""
        from botocore.exceptions import ClientError

        with translated("sagemaker:DescribeTransformJob", name):
            try:
                answer = self._client.describe_transform_job(TransformJobName=name)
            except ClientError as error:
                if is_missing(error):
                    return None
                raise
            return TransformJob(name, answer["TransformJobStatus"], answer.get("FailureReason", ""))

    def start(self, model: Request, job: Request) -> None:
        """Make the model and start the job; the model is gone again where the job was not started.

        A model of that name is one that a killed run left, and is replaced.
        """
        self.delete_model(model["ModelName"])
        with translated("sagemaker:CreateModel", model["ModelName"]):
            self._client.create_model(**model)
        try:
            with translated("sagemaker:CreateTransformJob", job["TransformJobName"]):
                self._client.create_transform_job(**job)
        except BaseException:
            self.delete_model(model["ModelName"])
            raise

    def delete_model(self, name: str) -> None:
        """Silent where it is gone."""
        from botocore.exceptions import ClientError

        with translated("sagemaker:DeleteModel", name):
            try:
                self._client.delete_model(ModelName=name)
            except ClientError as error:
                if not is_missing(error):
                    raise

    @cached_property
    def _client(self) -> SageMakerClient:
        with translated("sagemaker", self.region):
            return session(self.region).client("sagemaker", config=client_config())
