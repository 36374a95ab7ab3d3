"""Who runs a superseded image, and whether the commands that `xgbpatch usage` prints would be accepted."""

from __future__ import annotations

import json
import shlex

import boto3
import pytest
from click.testing import CliRunner
from handmade import HandImage, put, tar
from patched_images import ROLE, depot_of_user, endpoint, model, patched
from publication_parts import REGION, Reply, scripted, xgbpatch

from xgbpatch.aws import SageMaker
from xgbpatch.commands.usage import command as usage
from xgbpatch.errors import AwsError, ConfigurationError


@pytest.fixture
def depot(ecr, tmp_path):
    return depot_of_user(tmp_path)


@pytest.fixture
def base(depot, plain):
    """`base(content)`: AWS moves the tag of its image; gives what `patched` needs to stand on it."""

    def moved(content):
        tag = plain.reference("sagemaker-xgboost:3.2-0")
        image = put(depot, tag, HandImage([tar({"base": content})]))
        return {"base_name": str(tag), "base_digest": image.digest}

    return moved


def run(*arguments):
    """In this process, which has loaded boto3."""
    done = CliRunner().invoke(usage, ["--json", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def execute(command):
    """Call by boto3 what the AWS CLI would call; its options are the operation's members."""
    words = shlex.split(command)
    assert words[:2] + words[3:5] == ["aws", "sagemaker", "--region", REGION]
    options = dict(zip(words[5::2], words[6::2], strict=True))
    document = json.loads(options.pop("--cli-input-json", "{}"))
    for option, value in options.items():
        document["".join(part.capitalize() for part in option[2:].split("-"))] = value
    getattr(boto3.client("sagemaker", REGION), words[2].replace("-", "_"))(**document)


def test_model_on_the_newest_image_and_base_is_current(depot, place, base):
    model("fraud", patched(depot, place, **base(b"1")))
    assert run() == {"behind": [], "current": 1, "unknown": []}


def test_model_whose_base_moved_waits_for_a_rebuild(depot, place, base):
    old = patched(depot, place, **base(b"1"))
    model("fraud", old)
    moved = base(b"2")
    (item,) = run()["behind"]
    assert (item["kind"], item["name"], item["image"]) == ("model", "fraud", str(old))
    assert item["reasons"] == [f'its base "{moved["base_name"]}" is "{moved["base_digest"]}" now']
    assert (item["newest"], item["commands"]) == (None, [])
    assert item["advice"].startswith("xgbpatch rebuild --image fraud")


def test_command_of_a_model_makes_it_on_the_newest_image(depot, place, base):
    old = patched(depot, place, **base(b"1"))
    network = {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}
    model("fraud", old, VpcConfig=network)
    new = patched(depot, place, **base(b"2"))
    (item,) = run()["behind"]
    assert len(item["reasons"]) == 2
    assert item["reasons"][1] == f'superseded by "{new.tag}"'
    assert (item["newest"], item["advice"]) == (str(new.pinned), "")
    (command,) = item["commands"]
    execute(command)
    name = f"fraud-{new.digest[7:15]}"
    made = boto3.client("sagemaker", REGION).describe_model(ModelName=name)
    assert made["PrimaryContainer"] == {"Image": str(new.pinned), "ModelDataUrl": "s3://bucket/model.tar.gz"}
    assert (made["ExecutionRoleArn"], made["VpcConfig"]) == (ROLE, network)


def test_commands_of_an_endpoint_move_it_to_the_newest_image(depot, place, base):
    stands = base(b"1")
    old = patched(depot, place, **stands)
    other = patched(depot, place, **{**stands, "image": "churn"})
    model("fraud", old)
    model("churn", other)
    endpoint("live", "fraud", "churn")
    new = patched(depot, place, **stands)
    (item,) = run()["behind"]  # the models are the endpoint's, and no entries of their own
    assert (item["kind"], item["name"]) == ("endpoint", "live")
    assert [command.split()[2] for command in item["commands"]] == [
        "create-model", "create-endpoint-config", "update-endpoint",
    ]  # fmt: skip
    for command in item["commands"][:2]:  # moto has no UpdateEndpoint
        execute(command)
    client = boto3.client("sagemaker", REGION)
    ending = new.digest[7:15]
    (made,) = [one for one in client.list_endpoint_configs()["EndpointConfigs"] if ending in one["EndpointConfigName"]]
    expected = f"--endpoint-name live --endpoint-config-name {made['EndpointConfigName']}"
    assert item["commands"][2] == f"aws sagemaker update-endpoint --region {REGION} {expected}"
    variants = client.describe_endpoint_config(EndpointConfigName=made["EndpointConfigName"])["ProductionVariants"]
    assert [(one["ModelName"], one["InitialInstanceCount"]) for one in variants] == [
        (f"fraud-{ending}", 2), ("churn", 2),
    ]  # fmt: skip


def test_second_update_does_not_lengthen_the_name(depot, place, base):
    stands = base(b"1")
    old = patched(depot, place, **stands)
    model("fraud-0123abcd", old)
    new = patched(depot, place, **stands)
    (item,) = run()["behind"]
    assert f'"ModelName": "fraud-{new.digest[7:15]}"' in item["commands"][0]


def test_newest_image_that_is_behind_itself_says_so(depot, place, base):
    stands = base(b"1")
    model("fraud", patched(depot, place, **stands))
    patched(depot, place, **stands)
    base(b"2")
    (item,) = run()["behind"]
    assert item["commands"]
    assert "xgbpatch rebuild --image fraud first" in item["advice"]


def test_images_of_other_makers_are_nobodys_business(depot, place):
    model("theirs", put(depot, place.with_tag("1.0"), HandImage([tar({"a": b"a"})])))
    assert run() == {"behind": [], "current": 0, "unknown": []}


def test_image_that_is_gone_is_told_and_stops_nothing(depot, place, base):
    model("gone", place.with_tag("gone"))
    model("fraud", patched(depot, place, **base(b"1")))
    document = run()
    assert document["current"] == 1
    assert document["unknown"] == [
        {"image": str(place.with_tag("gone")), "message": "it is not in its registry any more"}
    ]


def test_table_and_commands_are_for_people(depot, place, base):
    stands = base(b"1")
    model("fraud", patched(depot, place, **stands))
    patched(depot, place, **stands)
    done = xgbpatch("usage", "--region", REGION)
    assert done.returncode == 0, done.stderr
    heading, row, blank, title, command = done.stdout.splitlines()
    assert heading.split() == ["KIND", "NAME", "REGION", "IMAGE", "WHY"]
    assert row.startswith("model  fraud")
    assert (blank, title) == ("", f"# model fraud ({REGION})")
    assert command.startswith("aws sagemaker create-model --region")


def test_region_must_be_known(ecr, monkeypatch):
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(ConfigurationError, match="no AWS region"):
        run()


ACCOUNT_IMAGE = f"123456789012.dkr.ecr.{REGION}.amazonaws.com/team/fraud"
DIGEST = "sha256:" + "a" * 64
ARN = f"arn:aws:sagemaker:{REGION}:123456789012:model-package/group/1"


@pytest.fixture
def asked(aws, monkeypatch):
    """`asked(method, answers…)`: what SageMaker answers, call by call (moto knows no page, no component, no digest)."""

    def call(method, *documents):
        with scripted(*(_reply(document) for document in documents)) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server.host}")
            return getattr(SageMaker(REGION), method)()

    return call


def _reply(document):
    return document if isinstance(document, Reply) else Reply(200, json.dumps(document).encode())


def _names(images):
    return [str(image) for image in images]


THROTTLED = Reply(400, b'{"__type": "ThrottlingException", "message": "Rate exceeded"}')
MISSING = Reply(400, b'{"__type": "ValidationException", "message": "Could not find model"}')


def _listed(kind, *names, **more):
    return {kind: [{f"{kind[:-1]}Name": name} for name in names], **more}


def test_every_page_is_read_and_throttling_waited_out(asked):
    container = {"PrimaryContainer": {"Image": f"{ACCOUNT_IMAGE}:1"}}
    pages = (THROTTLED, _listed("Models", "a", NextToken="more"), _listed("Models", "b"))
    assert [model.name for model in asked("models", *pages, container)] == ["a", "b"]


def test_model_that_was_deleted_since_it_was_listed_is_left_out(asked):
    assert asked("models", _listed("Models", "a"), MISSING) == ()


def test_model_of_a_package_runs_the_packages_image(asked):
    package = {"InferenceSpecification": {"Containers": [{"Image": f"{ACCOUNT_IMAGE}:1", "ImageDigest": DIGEST}]}}
    answers = (_listed("Models", "a"), {"PrimaryContainer": {"ModelPackageName": ARN}}, package)
    (found,) = asked("models", *answers)
    assert _names(found.images) == [f"{ACCOUNT_IMAGE}:1", f"{ACCOUNT_IMAGE}:1@{DIGEST}"]


def test_endpoint_tells_the_digest_that_it_runs(asked):
    deployed = [{"SpecifiedImage": f"{ACCOUNT_IMAGE}:1", "ResolvedImage": f"{ACCOUNT_IMAGE}@{DIGEST}"}]
    pending = [{"VariantName": "v", "DeployedImages": [{"SpecifiedImage": f"{ACCOUNT_IMAGE}:2"}]}]
    described = {
        "EndpointConfigName": "c", "ProductionVariants": [{"VariantName": "v", "DeployedImages": deployed}],
        "PendingDeploymentSummary": {"ProductionVariants": pending},
    }  # fmt: skip
    config = {"EndpointConfigName": "c", "ProductionVariants": [{"VariantName": "v", "ModelName": "m"}]}
    (found,) = asked("endpoints", _listed("Endpoints", "e"), described, config)
    assert _names(found.images) == [f"{ACCOUNT_IMAGE}:1", f"{ACCOUNT_IMAGE}@{DIGEST}", f"{ACCOUNT_IMAGE}:2"]
    assert found.models == ("m",)


def test_endpoint_without_models_runs_inference_components(asked):
    described = {"EndpointConfigName": "c", "ProductionVariants": [{"VariantName": "v"}]}
    config = {"EndpointConfigName": "c", "ProductionVariants": [{"VariantName": "v"}]}
    component = {"Specification": {"Container": {"DeployedImage": {"ResolvedImage": f"{ACCOUNT_IMAGE}@{DIGEST}"}}}}
    answers = (described, config, _listed("InferenceComponents", "i"), component)
    (found,) = asked("endpoints", _listed("Endpoints", "e"), *answers)
    assert _names(found.images) == [f"{ACCOUNT_IMAGE}@{DIGEST}"]


def test_jobs_in_progress_are_uses(asked):
    training = {"AlgorithmSpecification": {"TrainingImage": f"{ACCOUNT_IMAGE}:t"}}
    uses = asked(
        "other_uses",
        {"ModelPackageSummaryList": []},
        {"TrainingJobSummaries": [{"TrainingJobName": "t"}]},
        {"HyperParameterTuningJobSummaries": [{"HyperParameterTuningJobName": "h"}]},
        {"ProcessingJobSummaries": [{"ProcessingJobName": "p"}]},
        {"PipelineSummaries": []},
        training,
        {"TrainingJobDefinition": training, "TrainingJobDefinitions": []},
        {"AppSpecification": {"ImageUri": f"{ACCOUNT_IMAGE}:p"}},
    )
    assert {str(use): _names(use.images) for use in uses} == {
        f'training job "t" in {REGION}': [f"{ACCOUNT_IMAGE}:t"],
        f'tuning job "h" in {REGION}': [f"{ACCOUNT_IMAGE}:t"],
        f'processing job "p" in {REGION}': [f"{ACCOUNT_IMAGE}:p"],
    }


def test_refusal_names_the_permission(asked):
    with pytest.raises(AwsError, match="AccessDeniedException") as caught:
        asked("models", Reply(400, b'{"__type": "AccessDeniedException", "message": "no"}'))
    assert 'Allow "sagemaker:ListModels"' in caught.value.next_step
