"""What `xgbpatch prune` deletes and what it never does: on ECR and on a plain registry, as a user runs it."""

from __future__ import annotations

import json

import boto3
import pytest
import requests
from click.testing import CliRunner

from support.aws import ACCOUNT, REGION
from support.commands import completed_in_process, xgbpatch
from support.moto_sagemaker import sagemaker_door
from support.patched_images import ROLE, depot_of_user, endpoint, model, patched
from xgbpatch.commands.prune import command as prune
from xgbpatch.errors import AwsError
from xgbpatch.registry.referrers import Artifact, attach
from xgbpatch.upkeep import repository


@pytest.fixture(autouse=True)
def algorithms(ecr, monkeypatch):
    """SageMaker's algorithms, by name; none unless a test puts one there."""
    with sagemaker_door(ecr.endpoint) as door:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", door.url)
        yield door.algorithms


@pytest.fixture
def services(ecr, tmp_path):
    return depot_of_user(tmp_path)


@pytest.fixture
def run(place):
    """`run(arguments…)` → the document about the repository; the newest image alone is kept unless told otherwise.

    In this process, which has loaded boto3.
    """

    def command(*arguments, repository=place.repository):
        result = CliRunner().invoke(prune, [repository, "--keep", "1", "--json", *arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)["repositories"][0]

    return command


def verdicts(document):
    """Why each image stays or goes, by its first tag or its digest."""
    return {(image["tags"] or [image["digest"]])[0]: (image["action"], image["why"]) for image in document["images"]}


def there(services, image):
    return services.registry.head(image.pinned) is not None


def test_superseded_image_goes_and_the_newest_stays(services, place, run):
    old, new = patched(services, place), patched(services, place)
    document = run("--apply")
    assert verdicts(document) == {
        old.tag: ("delete", f'superseded by "{new.tag}"'),
        new.tag: ("keep", "the newest of its image"),
    }
    assert document["applied"]
    assert (there(services, old), there(services, new)) == (False, True)
    assert services.registry.head(place.with_tag(old.tag)) is None


def test_nothing_is_deleted_without_apply(services, place, run):
    old, _ = patched(services, place), patched(services, place)
    document = run()
    assert (document["applied"], verdicts(document)[old.tag][0]) == (False, "delete")
    assert there(services, old)


def test_version_tag_of_a_configured_pattern_is_no_alias(services, place, run, tmp_path, monkeypatch):
    old = patched(services, place, tag="v{version}-{spec}")
    patched(services, place, tag="v{version}-{spec}")
    assert verdicts(run())[old.tag][1] == f'alias "{old.tag}" names it'
    config = f'version = "3.2-0"\nregion = "{REGION}"\ntag = "v{{version}}-{{spec}}"\n'
    (tmp_path / "xgbpatch.toml").write_text(config)
    monkeypatch.chdir(tmp_path)
    assert verdicts(run())[old.tag][0] == "delete"


def test_images_of_models_stay(services, place, run):
    by_tag, by_digest, second, new = (patched(services, place) for _ in range(4))
    model("tag", by_tag.with_tag(by_tag.tag))
    model("digest", by_digest.pinned)
    model("several", new, second)
    decisions = verdicts(run("--apply"))
    assert decisions[by_tag.tag] == ("keep", f'used by model "tag" in {REGION}')
    assert decisions[by_digest.tag] == ("keep", f'used by model "digest" in {REGION}')
    assert decisions[second.tag] == ("keep", f'used by model "several" in {REGION}')
    assert all(there(services, image) for image in (by_tag, by_digest, second))


def test_image_of_another_regions_model_stays_when_that_region_is_given(services, place, run):
    old, _ = patched(services, place), patched(services, place)
    model("far", old, region="eu-west-1")
    assert verdicts(run("--region", REGION))[old.tag][0] == "delete"
    assert verdicts(run("--region", "eu-west-1", repository=str(place)))[old.tag][0] == "keep"


def _package(client, image):
    containers = [{"Image": image, "ModelDataUrl": "s3://bucket/model.tar.gz"}]
    specification = {"Containers": containers, "SupportedContentTypes": ["text/csv"],
                     "SupportedResponseMIMETypes": ["text/csv"]}  # fmt: skip
    client.create_model_package(ModelPackageName="job", InferenceSpecification=specification)


def _pipeline(client, image):
    step = {"Type": "Training", "Arguments": {"AlgorithmSpecification": {"TrainingImage": image}}}
    client.create_pipeline(PipelineName="job", RoleArn=ROLE, PipelineDefinition=json.dumps({"Steps": [step]}))


def test_image_of_what_may_run_it_later_stays(services, place, run):
    first, second, _ = patched(services, place), patched(services, place), patched(services, place)
    _package(boto3.client("sagemaker", REGION), str(first.pinned))
    _pipeline(boto3.client("sagemaker", REGION), str(second))
    decisions = verdicts(run())
    assert decisions[first.tag] == ("keep", f'used by model package "job" in {REGION}')
    assert decisions[second.tag] == ("keep", f'used by pipeline "job" in {REGION}')


def test_images_of_an_algorithm_stay(services, place, run, algorithms):
    trains, infers, pinned, _ = (patched(services, place) for _ in range(4))
    algorithms["fraud"] = {
        "TrainingSpecification": {"TrainingImage": str(trains.with_tag(trains.tag))},
        "InferenceSpecification": {"Containers": [
            {"Image": str(infers.with_tag(infers.tag))},
            {"Image": str(pinned.with_tag("moved-since")), "ImageDigest": pinned.digest},
        ]},
    }  # fmt: skip
    decisions = verdicts(run())
    assert {decisions[image.tag] for image in (trains, infers, pinned)} == {
        ("keep", f'used by algorithm "fraud" in {REGION}')
    }


def test_repository_by_its_dual_stack_name_is_the_same_one(services, place, run):
    old, _ = patched(services, place), patched(services, place)
    model("fraud", old.with_tag(old.tag))
    document = run(repository=f"{ACCOUNT}.dkr-ecr.{REGION}.on.aws/{place.repository}")
    assert (document["repository"], verdicts(document)[old.tag][0]) == (place.name, "keep")


def test_image_that_a_model_needs_since_the_repository_was_read_stays(services, place, run, monkeypatch):
    old, _ = patched(services, place), patched(services, place)
    list_repository = repository.list_repository

    def slowly(*arguments):
        items = list_repository(*arguments)
        model("late", old)
        return items

    monkeypatch.setattr(repository, "list_repository", slowly)
    assert verdicts(run("--apply"))[old.tag] == ("keep", f'used by model "late" in {REGION}')
    assert there(services, old)


def test_endpoint_whose_image_cannot_be_told_stops_everything(services, place, run):
    old, _ = patched(services, place), patched(services, place)
    model("fraud", old)
    endpoint("live", "fraud")
    boto3.client("sagemaker", REGION).delete_model(ModelName="fraud")  # moto tells nothing of what endpoints run
    with pytest.raises(AwsError, match='which image the endpoint "live"'):
        run("--apply")
    assert there(services, old)


def test_nothing_is_deleted_where_sagemaker_cannot_be_asked(ecr, services, place, monkeypatch):
    old, _ = patched(services, place), patched(services, place)
    iam = boto3.client("iam", region_name=REGION)
    iam.create_user(UserName="pruner")
    allowed = {"Effect": "Allow", "Action": ["ecr:*", "sts:*"], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="pruner", PolicyName="ecr-alone", PolicyDocument=document)
    key = iam.create_access_key(UserName="pruner")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    requests.post(f"{ecr.endpoint}/moto-api/reset-auth", data="0", timeout=120)
    try:
        completed = xgbpatch("prune", place.repository, "--keep", "1", "--apply")
    finally:
        requests.post(f"{ecr.endpoint}/moto-api/reset-auth", data="Infinity", timeout=120)
    assert completed.returncode == 6
    assert 'Allow "sagemaker:ListModels"' in completed.stderr
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    assert there(services, old)


def test_repository_of_another_account_is_refused(run):
    host = f"999999999999.dkr.ecr.{REGION}.amazonaws.com"
    with pytest.raises(AwsError, match='what account "999999999999" uses'):
        run("--apply", repository=f"{host}/team/model")


def test_what_belongs_to_an_image_goes_and_stays_with_it(services, place, run):
    old, new = patched(services, place), patched(services, place)
    attached = {
        image.tag: attach(
            services.registry, services.blobs_of(image), image, Artifact("sbom", "application/json", text)
        )
        for image, text in ((old, b"[1]"), (new, b"[2]"))
    }
    run("--apply")
    artifacts = {tag: place.with_digest(artifact.digest) for tag, artifact in attached.items()}
    assert (there(services, artifacts[old.tag]), there(services, artifacts[new.tag])) == (False, True)
    assert services.registry.head(place.with_tag(old.digest.replace(":", "-"))) is None
    assert services.registry.head(place.with_tag(new.digest.replace(":", "-"))) is not None


def test_plain_registry_is_pruned_too(services, plain, run):
    place = plain.reference("team/model")
    old, new = (patched(services, place, day=day) for day in (1, 2))
    artifact = attach(services.registry, services.blobs_of(old), old, Artifact("sbom", "application/json", b"[1]"))
    document = run("--registry", plain.host, "--region", REGION, "--apply", repository="team/model")
    assert verdicts(document)[old.tag] == ("delete", f'superseded by "{new.tag}"')
    assert plain.tags("team/model") == [new.tag]
    assert not there(services, place.with_digest(artifact.digest))


def test_table_says_what_and_why(services, place):
    patched(services, place), patched(services, place)
    completed = xgbpatch("prune", place.repository, "--keep", "1")
    assert completed.returncode == 0, completed.stderr
    assert "delete  sha256:" in completed.stdout
    assert "1 would be deleted" in completed.stdout
    assert "asking SageMaker" in completed.stderr


def test_empty_repository_has_nothing_to_delete(place):
    completed = completed_in_process("prune", place.repository)
    assert (completed.returncode, completed.stdout) == (0, f"{place.name}:\nholds nothing\nNothing to delete.\n")
