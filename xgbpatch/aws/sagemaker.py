"""SageMaker in one account and region: what it runs, or would run when asked (models, endpoints, jobs, pipelines); and
batch transform jobs, which are started here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from xgbpatch.aws.session import client_config, code, session, translated
from xgbpatch.errors import ConfigurationError
from xgbpatch.reference import ImageReference

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

T = TypeVar("T")
Answer = Mapping[str, Any]  # of a Describe call
_AT_ONCE = 4  # SageMaker's Describe calls are throttled early; botocore's adaptive mode slows down by itself
_IMAGE = re.compile(r'[^\s"\'\\{}(),]+\.dkr[.-]ecr[^\s"\'\\{}(),]+')  # in a pipeline's definition


class ResourceKind(Enum):
    """What uses an image."""

    MODEL = "model"
    ENDPOINT = "endpoint"
    PACKAGE = "model package"
    ALGORITHM = "algorithm"
    TRAINING = "training job"
    TUNING = "tuning job"
    PROCESSING = "processing job"
    PIPELINE = "pipeline"


@dataclass(frozen=True)
class SageMakerModel:
    """`images` as AWS names them, by tag or digest; `request` is what CreateModel would have to be sent to make it.

    `lost` are model packages that it was made of and that were deleted since: which images these name, nobody can tell.
    """

    name: str
    region: str
    images: tuple[ImageReference, ...]
    request: Mapping[str, Any] = field(compare=False, hash=False)
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class Endpoint:
    """`models` by name; `images` that its instances run, by tag and by the digest that this was when they started.

    `config` is its configuration's name, empty where SageMaker tells none; `request` is what CreateEndpointConfig would
    have to be sent to make that.
    """

    name: str
    region: str
    config: str
    models: tuple[str, ...]
    images: tuple[ImageReference, ...]
    request: Mapping[str, Any] = field(compare=False, hash=False)


@dataclass(frozen=True)
class Use:
    """Something that needs `images`."""

    kind: ResourceKind
    name: str
    region: str
    images: tuple[ImageReference, ...]

    def __str__(self) -> str:
        return f'{self.kind.value} "{self.name}" in {self.region}'


class SageMaker:
    """SageMaker of one region, read only. Raises nothing but `AwsError`; nothing is left out in silence."""

    def __init__(self, region: str) -> None:
        self.region = region

    def models(self) -> tuple[SageMakerModel, ...]:
        """Every model; those that name a model package get the package's images, and `lost` where it is deleted."""
        return self._described(self._names("list_models"), self._model)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Every endpoint, whatever its state."""
        return self._described(self._names("list_endpoints"), self._endpoint)

    def endpoint_config(self, name: str) -> Answer | None:
        """What CreateEndpointConfig would have to be sent to make the configuration, None where there is none."""
        try:
            return self._request("CreateEndpointConfig", self._describe("describe_endpoint_config", name))
        except _MissingError:
            return None

    def other_uses(self) -> tuple[Use, ...]:
        """Jobs that are in progress; and model packages, algorithms and pipelines, which name images for later ones.

        A transform job runs a model, and an endpoint configuration names models: they need no look of their own.
        """
        running = {"StatusEquals": "InProgress"}
        return (
            *self._uses(
                ResourceKind.PACKAGE, "list_model_packages", "describe_model_package", _offered, ModelPackageType="Both"
            ),
            *self._uses(ResourceKind.ALGORITHM, "list_algorithms", "describe_algorithm", _of_algorithm),
            *self._uses(ResourceKind.TRAINING, "list_training_jobs", "describe_training_job", _of_training, **running),
            *self._uses(
                ResourceKind.TUNING,
                "list_hyper_parameter_tuning_jobs",
                "describe_hyper_parameter_tuning_job",
                _of_tuning,
                **running,
            ),
            *self._uses(
                ResourceKind.PROCESSING, "list_processing_jobs", "describe_processing_job", _of_processing, **running
            ),
            *self._uses(ResourceKind.PIPELINE, "list_pipelines", "describe_pipeline", _of_pipeline),
        )

    def _uses(
        self, kind: ResourceKind, listing: str, description: str, images: Callable[[Answer], list[str]], **members: str
    ) -> tuple[Use, ...]:
        """Whatever the method `listing` lists, with the `images` that the answer of the method `description` names."""

        def use(name: str) -> Use:
            return Use(
                kind, name.rpartition("/")[2], self.region, _references(images(self._describe(description, name)))
            )

        return self._described(self._names(listing, **members), use)

    def _model(self, name: str) -> SageMakerModel:
        answer = self._describe("describe_model", name)
        containers = [answer.get("PrimaryContainer") or {}, *(answer.get("Containers") or ())]
        images = [str(item.get("Image", "")) for item in containers]
        lost = []
        for package in (str(item["ModelPackageName"]) for item in containers if item.get("ModelPackageName")):
            try:
                images += _offered(self._describe("describe_model_package", package))
            except _MissingError:  # the package was deleted, the model still stands
                lost.append(package)
        return SageMakerModel(name, self.region, _references(images), self._request("CreateModel", answer), tuple(lost))

    def _endpoint(self, name: str) -> Endpoint:
        answer = self._describe("describe_endpoint", name)
        config = str(answer.get("EndpointConfigName") or "")
        request: Answer = (self.endpoint_config(config) if config else None) or {}  # deleted: the endpoint runs on
        variants = [*_variants(answer), *_variants(answer.get("PendingDeploymentSummary") or {})]
        deployed = [image for variant in variants for image in variant.get("DeployedImages") or ()]
        images = [str(image.get(key, "")) for image in deployed for key in ("SpecifiedImage", "ResolvedImage")]
        models = [str(variant.get("ModelName", "")) for variant in _variants(request)]
        if not all(models) or not request:  # inference components name the images where a variant names no model
            components = self._names("list_inference_components", EndpointNameEquals=name)
            images += [image for several in self._described(components, self._component) for image in several]
        names = tuple(dict.fromkeys(filter(None, models)))
        return Endpoint(name, self.region, config, names, _references(images), request)

    def _component(self, name: str) -> list[str]:
        specification = self._describe("describe_inference_component", name).get("Specification", {})
        deployed = specification.get("Container", {}).get("DeployedImage") or {}
        return [str(deployed.get(key, "")) for key in ("SpecifiedImage", "ResolvedImage")]

    def _names(self, method: str, **members: str) -> list[str]:
        """Every name once, of all pages; a model package has its ARN for one."""
        action = self._client.meta.method_to_api_mapping[method]
        key = f"{action.removeprefix('List').removesuffix('s')}{'Arn' if method.endswith('_packages') else 'Name'}"
        with translated(f"sagemaker:{action}", self.region):
            paginator: Any = self._client.get_paginator(method)  # type: ignore[call-overload]
            (listed,) = paginator.paginate(**members).result_key_iters()
            return list(dict.fromkeys(str(item[key]) for item in listed))

    def _described(self, names: Sequence[str], describe: Callable[[str], T]) -> tuple[T, ...]:
        """Some at a time; what was deleted since it was listed is left out."""

        def one(name: str) -> list[T]:
            with suppress(_MissingError):
                return [describe(name)]
            return []

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return tuple(item for several in pool.map(one, names) for item in several)

    def _describe(self, method: str, name: str) -> Answer:
        """The answer of a Describe call; raises `_MissingError` where there is no such thing (any more)."""
        from botocore.exceptions import ClientError

        action = self._client.meta.method_to_api_mapping[method]
        call: Callable[..., Answer] = getattr(self._client, method)
        with translated(f"sagemaker:{action}", name):
            try:
                return call(**{f"{action.removeprefix('Describe')}Name": name})
            except ClientError as error:
                if is_missing(error):
                    raise _MissingError(name) from error
                raise

    def _request(self, operation: str, answer: Answer) -> Answer:
        """What `operation` takes of what a Describe call has answered."""
        shape = self._client.meta.service_model.operation_model(operation).input_shape
        members = shape.members if shape else ()
        return {key: answer[key] for key in members if answer.get(key) not in (None, [], {})}

    @cached_property
    def _client(self) -> SageMakerClient:
        from botocore.config import Config

        retries: Any = {"mode": "adaptive", "total_max_attempts": 10}
        with translated("sagemaker", self.region):
            return session(self.region).client("sagemaker", config=client_config().merge(Config(retries=retries)))


class _MissingError(Exception):
    """Not there any more; no built-in one, so that an answer that lacks something is never taken for it."""


def is_missing(error: Any) -> bool:
    """Whether a client error says that there is no such thing."""
    words = str(error.response.get("Error", {}).get("Message", "")).lower()
    return code(error) in ("ResourceNotFound", "ResourceNotFoundException") or (
        code(error).startswith("Validation") and ("could not find" in words or "does not exist" in words)
    )


def _variants(answer: Answer) -> Iterator[Answer]:
    for key in ("ProductionVariants", "ShadowProductionVariants"):
        yield from answer.get(key) or ()


def _offered(answer: Answer) -> list[str]:
    """The images that a model package or an algorithm names for inference, and their digests where it tells them."""
    offers = [answer.get("InferenceSpecification") or {}, *(answer.get("AdditionalInferenceSpecifications") or ())]
    containers = [item for offer in offers for item in offer.get("Containers") or ()]
    images = [str(item.get("Image", "")) for item in containers]
    return images + [_pinned(str(item.get("Image", "")), str(item.get("ImageDigest", ""))) for item in containers]


def _of_algorithm(answer: Answer) -> list[str]:
    training = answer.get("TrainingSpecification") or {}
    image, digest = str(training.get("TrainingImage", "")), str(training.get("TrainingImageDigest", ""))
    return [image, _pinned(image, digest), *_offered(answer)]


def _of_training(job: Answer) -> list[str]:
    return [str((job.get("AlgorithmSpecification") or {}).get("TrainingImage", ""))]


def _of_tuning(answer: Answer) -> list[str]:
    jobs = [answer.get("TrainingJobDefinition") or {}, *(answer.get("TrainingJobDefinitions") or ())]
    return [image for job in jobs for image in _of_training(job)]


def _of_processing(answer: Answer) -> list[str]:
    return [str((answer.get("AppSpecification") or {}).get("ImageUri", ""))]


def _of_pipeline(answer: Answer) -> list[str]:
    return _IMAGE.findall(str(answer.get("PipelineDefinition", "")))


def _pinned(image: str, digest: str) -> str:
    return f"{image.partition('@')[0]}@{digest}" if image and digest else ""


def _references(texts: Sequence[str]) -> tuple[ImageReference, ...]:
    """Each once; what no reference can be read from is no image in a registry."""
    references: dict[ImageReference, None] = {}
    for text in filter(None, texts):
        with suppress(ConfigurationError):
            references[ImageReference.parse(text)] = None
    return tuple(references)


# Batch transform jobs, and the models that they need.


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

    def start(self, model: Mapping[str, Any], job: Mapping[str, Any]) -> None:
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
