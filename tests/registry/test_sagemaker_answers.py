"""What is read out of SageMaker's answers, call by call, and what of it makes `prune` refuse."""

from __future__ import annotations

import json

import pytest

from support.aws import REGION
from support.servers import Reply, scripted
from xgbpatch.aws.sagemaker import SageMaker
from xgbpatch.errors import AwsError
from xgbpatch.upkeep import prune

ACCOUNT_IMAGE = f"123456789012.dkr.ecr.{REGION}.amazonaws.com/team/fraud"
DIGEST, OTHER_DIGEST = (f"sha256:{letter * 64}" for letter in "ab")
JOBS = ("TrainingJobSummaries", "HyperParameterTuningJobSummaries", "ProcessingJobSummaries")
ARN = f"arn:aws:sagemaker:{REGION}:123456789012:model-package/group/1"


@pytest.fixture
def call_sagemaker(aws, monkeypatch):
    """`call_sagemaker(method, answers…)`: what SageMaker answers, call by call (moto lacks pages, components, digests).

    `uses` is what `prune` asks.
    """

    def call(method, *documents):
        with scripted(*(_reply(document) for document in documents)) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server.host}")
            place = SageMaker(REGION)
            return list(prune.uses(place)) if method == "uses" else getattr(place, method)()

    return call


def _reply(document):
    return document if isinstance(document, Reply) else Reply(200, json.dumps(document).encode())


def _names(images):
    return [str(image) for image in images]


THROTTLED = Reply(400, b'{"__type": "ThrottlingException", "message": "Rate exceeded"}')
MISSING = Reply(400, b'{"__type": "ValidationException", "message": "Could not find model"}')


def _listed(kind, *names, **more):
    return {kind: [{f"{kind[:-1]}Name": name} for name in names], **more}


def test_every_page_is_read_and_throttling_waited_out(call_sagemaker):
    container = {"PrimaryContainer": {"Image": f"{ACCOUNT_IMAGE}:1"}}
    pages = (THROTTLED, _listed("Models", "a", NextToken="more"), _listed("Models", "b"))
    assert [model.name for model in call_sagemaker("models", *pages, container)] == ["a", "b"]


def test_model_that_was_deleted_since_it_was_listed_is_left_out(call_sagemaker):
    assert call_sagemaker("models", _listed("Models", "a"), MISSING) == ()


def test_model_of_a_package_runs_the_packages_image(call_sagemaker):
    package = {"InferenceSpecification": {"Containers": [{"Image": f"{ACCOUNT_IMAGE}:1", "ImageDigest": DIGEST}]}}
    answers = (_listed("Models", "a"), {"PrimaryContainer": {"ModelPackageName": ARN}}, package)
    (model,) = call_sagemaker("models", *answers)
    assert (_names(model.images), model.lost) == ([f"{ACCOUNT_IMAGE}:1", f"{ACCOUNT_IMAGE}:1@{DIGEST}"], ())


def test_model_whose_package_was_deleted_stops_everything(call_sagemaker):
    refusal = Reply(400, b'{"__type": "ValidationException", "message": "ModelPackage arn does not exist."}')
    containers = [{"Image": f"{ACCOUNT_IMAGE}:1"}, {"ModelPackageName": ARN}]
    with pytest.raises(AwsError, match='which image the model "a"') as caught:
        call_sagemaker("uses", _listed("Models", "a"), {"Containers": containers}, refusal, _listed("Endpoints"), {})
    assert ARN in caught.value.next_step


def test_endpoint_tells_the_digest_that_it_runs(call_sagemaker):
    deployed = [{"SpecifiedImage": f"{ACCOUNT_IMAGE}:1", "ResolvedImage": f"{ACCOUNT_IMAGE}@{DIGEST}"}]
    pending = [{"VariantName": "v", "DeployedImages": [{"SpecifiedImage": f"{ACCOUNT_IMAGE}:2"}]}]
    described = {
        "EndpointConfigName": "c", "ProductionVariants": [{"VariantName": "v", "DeployedImages": deployed}],
        "PendingDeploymentSummary": {"ProductionVariants": pending},
    }  # fmt: skip
    config = {"EndpointConfigName": "c", "ProductionVariants": [{"VariantName": "v", "ModelName": "m"}]}
    (endpoint,) = call_sagemaker("endpoints", _listed("Endpoints", "e"), described, config)
    assert _names(endpoint.images) == [f"{ACCOUNT_IMAGE}:1", f"{ACCOUNT_IMAGE}@{DIGEST}", f"{ACCOUNT_IMAGE}:2"]
    assert endpoint.models == ("m",)


def test_endpoint_without_a_configurations_name_is_no_deleted_one(call_sagemaker):
    deployed = [{"SpecifiedImage": f"{ACCOUNT_IMAGE}:1", "ResolvedImage": f"{ACCOUNT_IMAGE}@{DIGEST}"}]
    described = {"ProductionVariants": [{"VariantName": "v", "DeployedImages": deployed}]}
    components = _listed("InferenceComponents")
    (endpoint,) = call_sagemaker("endpoints", _listed("Endpoints", "e"), described, components)
    assert (endpoint.config, endpoint.request) == ("", {})
    assert _names(endpoint.images) == [f"{ACCOUNT_IMAGE}:1", f"{ACCOUNT_IMAGE}@{DIGEST}"]


def test_answer_that_lacks_what_it_must_have_is_not_taken_for_a_deleted_thing(call_sagemaker):
    with pytest.raises(KeyError):
        call_sagemaker("endpoints", _listed("Endpoints", "e"), {}, {"InferenceComponents": [{}]})


def test_endpoint_without_models_runs_inference_components(call_sagemaker):
    described = {"EndpointConfigName": "c", "ProductionVariants": [{"VariantName": "v"}]}
    config = {"EndpointConfigName": "c", "ProductionVariants": [{"VariantName": "v"}]}
    component = {"Specification": {"Container": {"DeployedImage": {"ResolvedImage": f"{ACCOUNT_IMAGE}@{DIGEST}"}}}}
    answers = (described, config, _listed("InferenceComponents", "i"), component)
    (endpoint,) = call_sagemaker("endpoints", _listed("Endpoints", "e"), *answers)
    assert _names(endpoint.images) == [f"{ACCOUNT_IMAGE}@{DIGEST}"]


def test_jobs_in_progress_are_uses(call_sagemaker):
    training = {"AlgorithmSpecification": {"TrainingImage": f"{ACCOUNT_IMAGE}:t"}}
    uses = call_sagemaker(
        "other_uses",
        {"ModelPackageSummaryList": []},
        {"AlgorithmSummaryList": []},
        {"TrainingJobSummaries": [{"TrainingJobName": "t"}]},
        training,
        {"HyperParameterTuningJobSummaries": [{"HyperParameterTuningJobName": "h"}]},
        {"TrainingJobDefinition": training, "TrainingJobDefinitions": []},
        {"ProcessingJobSummaries": [{"ProcessingJobName": "p"}]},
        {"AppSpecification": {"ImageUri": f"{ACCOUNT_IMAGE}:p"}},
        {"PipelineSummaries": []},
    )
    assert {str(use): _names(use.images) for use in uses} == {
        f'training job "t" in {REGION}': [f"{ACCOUNT_IMAGE}:t"],
        f'tuning job "h" in {REGION}': [f"{ACCOUNT_IMAGE}:t"],
        f'processing job "p" in {REGION}': [f"{ACCOUNT_IMAGE}:p"],
    }


def test_algorithm_names_images_for_training_and_inference(call_sagemaker):
    training = {"TrainingImage": f"{ACCOUNT_IMAGE}:t", "TrainingImageDigest": DIGEST}
    inference = {"Containers": [{"Image": f"{ACCOUNT_IMAGE}:i", "ImageDigest": OTHER_DIGEST}]}
    (use,) = call_sagemaker(
        "other_uses",
        {"ModelPackageSummaryList": []},
        {"AlgorithmSummaryList": [{"AlgorithmName": "a"}]},
        {"TrainingSpecification": training, "InferenceSpecification": inference},
        *({name: []} for name in JOBS),
        {"PipelineSummaries": []},
    )
    assert str(use) == f'algorithm "a" in {REGION}'
    assert _names(use.images) == [
        f"{ACCOUNT_IMAGE}:t", f"{ACCOUNT_IMAGE}:t@{DIGEST}", f"{ACCOUNT_IMAGE}:i", f"{ACCOUNT_IMAGE}:i@{OTHER_DIGEST}",
    ]  # fmt: skip


def test_pipeline_may_name_images_by_the_dual_stack_host(call_sagemaker):
    image = f"123456789012.dkr-ecr.{REGION}.on.aws/team/fraud:1"
    (use,) = call_sagemaker(
        "other_uses",
        {"ModelPackageSummaryList": []},
        {"AlgorithmSummaryList": []},
        *({name: []} for name in JOBS),
        {"PipelineSummaries": [{"PipelineName": "p"}]},
        {"PipelineDefinition": json.dumps({"Steps": [{"Arguments": {"TrainingImage": image}}]})},
    )
    assert _names(use.images) == [image]


def test_refusal_names_the_permission(call_sagemaker):
    with pytest.raises(AwsError, match="AccessDeniedException") as caught:
        call_sagemaker("models", Reply(400, b'{"__type": "AccessDeniedException", "message": "no"}'))
    assert 'Allow "sagemaker:ListModels"' in caught.value.next_step
