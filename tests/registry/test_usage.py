"""Who runs a superseded image, and whether the commands that `xgbpatch usage` prints would be accepted."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

import boto3
import pytest
from click.testing import CliRunner

from support.aws import REGION
from support.commands import xgbpatch
from support.handmade import HandImage, forge, put, tar
from support.patched_images import ROLE, depot_of_user, endpoint, model, patched
from xgbpatch.commands.usage import command as usage
from xgbpatch.contract.model import Verdict
from xgbpatch.errors import ConfigurationError
from xgbpatch.oci.manifest import DOCKER_INDEX, Manifest
from xgbpatch.publish import aliases, test_record
from xgbpatch.upkeep.usage import Assessment


@pytest.fixture
def services(ecr, tmp_path):
    return depot_of_user(tmp_path)


@pytest.fixture
def base(services, space):
    """`base(content)`: AWS moves the tag of its image; gives what `patched` needs to stand on it."""

    def moved(content):
        tag = space.reference("sagemaker-xgboost:3.2-0")
        image = HandImage([tar({"base": content})])
        return {"base": image, "base_name": str(tag), "base_digest": put(services, tag, image).digest}

    return moved


def passing(services, image):
    """The image, once `test-local` has passed on it."""
    record = test_record.TestRecord(image.digest, "1", "2026-11-21T12:00:00Z", {"serve.ping": Verdict.PASSED})
    test_record.keep(services, image, record)
    return image


def run(*arguments):
    """In this process, which has loaded boto3."""
    result = CliRunner().invoke(usage, ["--json", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def execute(command):
    """Call by boto3 what the AWS CLI would call; its options are the operation's members."""
    words = shlex.split(command)
    assert words[:2] + words[3:5] == ["aws", "sagemaker", "--region", REGION]
    options = dict(zip(words[5::2], words[6::2], strict=True))
    document = json.loads(options.pop("--cli-input-json", "{}"))
    for option, value in options.items():
        document["".join(part.capitalize() for part in option[2:].split("-"))] = value
    getattr(boto3.client("sagemaker", REGION), words[2].replace("-", "_"))(**document)


def test_model_on_the_newest_image_and_base_is_current(services, place, base):
    model("fraud", patched(services, place, **base(b"1")))
    assert run() == {"behind": [], "current": 1, "unknown": []}


def test_model_whose_base_moved_waits_for_a_rebuild(services, place, base):
    old = patched(services, place, **base(b"1"))
    model("fraud", old)
    moved = base(b"2")
    (item,) = run()["behind"]
    assert (item["kind"], item["name"], item["image"]) == ("model", "fraud", str(old))
    assert item["reasons"] == [f'its base "{moved["base_name"]}" is "{moved["base_digest"]}" now']
    assert (item["newest"], item["commands"]) == (None, [])
    assert item["advice"].startswith("xgbpatch rebuild --image fraud")


def test_command_of_a_model_makes_it_on_the_newest_image(services, place, base):
    old = patched(services, place, **base(b"1"))
    network = {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}
    model("fraud", old, VpcConfig=network)
    new = passing(services, patched(services, place, **base(b"2")))
    (item,) = run()["behind"]
    assert len(item["reasons"]) == 2
    assert item["reasons"][1] == f'superseded by "{new.tag}"'
    assert (item["newest"], item["advice"]) == (str(new.pinned), "")
    (command,) = item["commands"]
    execute(command)
    name = f"fraud-{new.digest[7:15]}"
    sagemaker_model = boto3.client("sagemaker", REGION).describe_model(ModelName=name)
    assert sagemaker_model["PrimaryContainer"] == {"Image": str(new.pinned), "ModelDataUrl": "s3://bucket/model.tar.gz"}
    assert (sagemaker_model["ExecutionRoleArn"], sagemaker_model["VpcConfig"]) == (ROLE, network)


def test_commands_of_an_endpoint_move_it_to_the_newest_image(services, place, base):
    stands = base(b"1")
    old = patched(services, place, **stands)
    other = patched(services, place, **{**stands, "image": "churn"})
    model("fraud", old)
    model("churn", other)
    endpoint("live", "fraud", "churn")
    new = passing(services, patched(services, place, **stands))
    (item,) = run()["behind"]  # the models are the endpoint's, and no entries of their own
    assert (item["kind"], item["name"]) == ("endpoint", "live")
    assert [command.split()[2] for command in item["commands"]] == [
        "create-model", "create-endpoint-config", "update-endpoint",
    ]  # fmt: skip
    for command in item["commands"][:2]:  # moto has no UpdateEndpoint
        execute(command)
    client = boto3.client("sagemaker", REGION)
    ending = new.digest[7:15]
    (configuration,) = [
        one for one in client.list_endpoint_configs()["EndpointConfigs"] if ending in one["EndpointConfigName"]
    ]
    expected = f"--endpoint-name live --endpoint-config-name {configuration['EndpointConfigName']}"
    assert item["commands"][2] == f"aws sagemaker update-endpoint --region {REGION} {expected}"
    variants = client.describe_endpoint_config(EndpointConfigName=configuration["EndpointConfigName"])[
        "ProductionVariants"
    ]
    assert [(one["ModelName"], one["InitialInstanceCount"]) for one in variants] == [
        (f"fraud-{ending}", 2), ("churn", 2),
    ]  # fmt: skip


def created(document):
    """The names that the commands of a document give, in their order; each works after those before it."""
    names = []
    for command in (command for item in document["behind"] for command in item["commands"]):
        words = shlex.split(command)
        if "--cli-input-json" in words:
            request = json.loads(words[-1])
            names.append(request.get("ModelName") or request["EndpointConfigName"])
            execute(command)
        else:
            assert words[-1] in names, "the configuration is made before it is taken"
    return names


def test_second_update_does_not_lengthen_the_name(services, place, base):
    stands = base(b"1")
    old = patched(services, place, **stands)
    model(f"fraud-{old.digest[7:15]}", old)
    new = passing(services, patched(services, place, **stands))
    assert created(run()) == [f"fraud-{new.digest[7:15]}"]


@pytest.mark.parametrize("name", ["fraud-20261129", "fraud-0123abcd", "v-12345678"])
def test_name_that_ends_in_other_digits_keeps_them(services, place, base, name):
    stands = base(b"1")
    model(name, patched(services, place, **stands))
    new = passing(services, patched(services, place, **stands))
    assert created(run()) == [f"{name}-{new.digest[7:15]}"]


def test_names_that_are_cut_short_stay_apart(services, place, base):
    stands = base(b"1")
    old = patched(services, place, **stands)
    for number in range(3):
        model(f"{'fraud' * 11}-{number}", old)
    passing(services, patched(services, place, **stands))
    names = created(run())
    assert len(set(names)) == 3
    assert max(map(len, names)) <= 63


def test_two_endpoints_that_share_a_model_have_it_made_once(services, place, base):
    stands = base(b"1")
    model("fraud", patched(services, place, **stands))
    endpoint("live", "fraud")
    endpoint("spare", "fraud")
    passing(services, patched(services, place, **stands))
    document = run()
    assert [[command.split()[2] for command in item["commands"]] for item in document["behind"]] == [
        ["create-model", "create-endpoint-config", "update-endpoint"], ["create-endpoint-config", "update-endpoint"],
    ]  # fmt: skip
    assert document["behind"][1]["advice"] == 'The commands of endpoint "live" first: they make what these name.'
    names = created(document)
    assert len(set(names)) == len(names) == 3


def test_what_an_update_that_was_cut_off_has_made_is_not_made_again(services, place, base):
    stands = base(b"1")
    model("fraud", patched(services, place, **stands))
    endpoint("live", "fraud")
    passing(services, patched(services, place, **stands))
    created(run())  # and not the update itself
    (item,) = run()["behind"]
    assert [command.split()[2] for command in item["commands"]] == ["update-endpoint"]


def test_model_that_stands_on_the_newest_image_under_its_new_name_is_named(services, place, base):
    stands = base(b"1")
    model("fraud", patched(services, place, **stands))
    new = passing(services, patched(services, place, **stands))
    created(run())
    (item,) = run()["behind"]
    assert item["commands"] == []
    assert item["advice"].startswith(f'"fraud-{new.digest[7:15]}" is this model on that image')


def test_name_that_something_else_has_is_left_to_it(services, place, base):
    stands = base(b"1")
    model("fraud", patched(services, place, **stands))
    new = passing(services, patched(services, place, **stands))
    model(f"fraud-{new.digest[7:15]}", place.with_tag("gone"))
    assert created(run()) == [f"fraud-2-{new.digest[7:15]}"]


def test_newest_image_that_is_behind_itself_says_so(services, place, base):
    stands = base(b"1")
    model("fraud", patched(services, place, **stands))
    passing(services, patched(services, place, **stands))
    base(b"2")
    (item,) = run()["behind"]
    assert item["commands"]
    assert "xgbpatch rebuild --image fraud first" in item["advice"]


def test_newer_image_that_was_not_tested_is_to_be_promoted_first(services, place, base):
    stands = base(b"1")
    model("fraud", patched(services, place, **stands))
    endpoint("live", "fraud")
    new = patched(services, place, **stands)
    (item,) = run()["behind"]
    assert item["reasons"] == [f'superseded by "{new.tag}"']
    assert (item["newest"], item["commands"]) == (None, [])
    assert item["advice"].startswith(f"xgbpatch promote {new.pinned} --alias")


def test_newest_tested_image_is_offered_though_a_later_one_is_not_tested(services, place, base):
    stands = base(b"1")
    model("fraud", patched(services, place, **stands))
    tested_image = passing(services, patched(services, place, **stands))
    patched(services, place, **stands)
    (item,) = run()["behind"]
    assert (item["newest"], len(item["commands"])) == (str(tested_image.pinned), 1)


def test_record_of_a_run_that_failed_is_none(services, place, base):
    stands = base(b"1")
    model("fraud", patched(services, place, **stands))
    new = patched(services, place, **stands)
    verdicts = {"serve.ping": Verdict.PASSED, "serve.csv": Verdict.FAILED}
    record = test_record.TestRecord(new.digest, "1", "2026-11-21T12:00:00Z", verdicts)
    test_record.keep(services, new, record)
    (item,) = run()["behind"]
    assert item["commands"] == []


def test_image_that_a_rollback_withdrew_supersedes_nothing_until_it_is_promoted_again(services, place, base):
    stands = base(b"1")
    good = patched(services, place, **stands)
    model("fraud", good)
    aliases.promote_alias(services, good, "prod")
    bad = passing(services, patched(services, place, **stands))
    aliases.promote_alias(services, bad, "prod")
    aliases.rollback_alias(services, place, "prod")
    assert run() == {"behind": [], "current": 1, "unknown": []}
    aliases.promote_alias(services, bad, "prod")
    (item,) = run()["behind"]
    assert item["newest"] == str(bad.pinned)


def test_base_of_several_architectures_is_compared_by_the_images_own(services, space):
    base = space.reference("base:3.2-0")
    entries, images = {}, {}
    for architecture in ("amd64", "arm64"):
        image = images[architecture] = HandImage([tar({"base": architecture.encode()})], architecture=architecture)
        head = services.registry.head(put(services, base.with_tag(architecture), image))
        platform = {"os": "linux", "architecture": architecture}
        entries[architecture] = {
            "mediaType": head.media_type, "digest": head.digest, "size": head.size, "platform": platform,
        }  # fmt: skip
    index = {"schemaVersion": 2, "mediaType": DOCKER_INDEX, "manifests": list(entries.values())}
    services.registry.put_manifest(base, Manifest(json.dumps(index).encode(), DOCKER_INDEX))
    for architecture, image in images.items():
        before = replace(image, layers=[tar({"base": b"before"})])
        digests = (entries[architecture]["digest"], put(services, base.with_tag("before"), before).digest)
        for below, digest, reasons in zip((image, before), digests, (0, 1), strict=True):
            stands = {"base": below, "base_name": str(base), "base_digest": digest}
            standing = Assessment(services).standing(patched(services, space.reference("team/model"), **stands))
            assert len(standing.reasons) == reasons, (architecture, digest)


def test_image_that_is_built_on_ours_is_no_successor_and_is_told_to_leave_nothing(services, place, base):
    """It has all labels, and a record that it passed."""
    stands = base(b"1")
    old, template = patched(services, place, **stands), patched(services, place, **stands)
    foreign = passing(services, forge(services, template, added=[tar({"etc/motd": b"evil"})]))
    services.registry.delete(template.pinned)
    model("fraud", old)
    assert run() == {"behind": [], "current": 1, "unknown": []}
    model("theirs", foreign)
    new = passing(services, patched(services, place, **stands))
    document = run()
    assert [(item["name"], item["newest"]) for item in document["behind"]] == [("fraud", str(new.pinned))]
    assert [item["image"] for item in document["unknown"]] == [str(foreign)]
    assert "not proved to be what its labels say" in document["unknown"][0]["message"]


def test_images_of_other_makers_are_nobodys_business(services, place):
    model("theirs", put(services, place.with_tag("1.0"), HandImage([tar({"a": b"a"})])))
    assert run() == {"behind": [], "current": 0, "unknown": []}


def test_image_that_is_gone_is_told_and_stops_nothing(services, place, base):
    model("gone", place.with_tag("gone"))
    model("fraud", patched(services, place, **base(b"1")))
    document = run()
    assert document["current"] == 1
    assert document["unknown"] == [
        {"image": str(place.with_tag("gone")), "message": "it is not in its registry any more"}
    ]


def test_table_and_commands_are_for_people(services, place, base):
    stands = base(b"1")
    model("fraud", patched(services, place, **stands))
    passing(services, patched(services, place, **stands))
    completed = xgbpatch("usage", "--region", REGION)
    assert completed.returncode == 0, completed.stderr
    heading, row, blank, title, why, command = completed.stdout.splitlines()
    assert heading.split() == ["KIND", "NAME", "REGION", "IMAGE"]
    assert row.startswith("model  fraud")
    assert (blank, title) == ("", f"# model fraud ({REGION})")
    assert why.startswith('# superseded by "')
    assert command.startswith("aws sagemaker create-model --region")


def test_region_must_be_known(ecr, monkeypatch):
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(ConfigurationError, match="no AWS region"):
        run()
