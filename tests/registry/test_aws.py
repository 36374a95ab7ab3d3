"""`xgbpatch.aws` against moto's server."""

from __future__ import annotations

import base64
import json
import time

import boto3
import pytest
import requests

from support.aws import ACCOUNT, REGION
from support.servers import Reply, scripted
from xgbpatch.aws import AwsRegion, RepositoryOptions, configured_region, partition
from xgbpatch.errors import AwsError, ConfigurationError

NAME = "xgbpatch/sagemaker-xgboost"


@pytest.fixture
def powerless(aws, monkeypatch):
    """A user whom IAM knows and allows nothing."""
    iam = boto3.client("iam", region_name=REGION)
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    requests.post(f"{aws}/moto-api/reset-auth", data="0", timeout=120)


def test_identity_is_the_callers(aws):
    identity = AwsRegion(REGION).identity()
    assert (identity.account, identity.partition) == (ACCOUNT, "aws")


def test_credentials_are_those_of_the_registrys_account(aws):
    credentials = AwsRegion(REGION).registry_credentials("246618743249")
    assert (credentials.username, credentials.password) == ("AWS", "246618743249-auth-token")
    assert "auth-token" not in repr(credentials)


@pytest.mark.parametrize(("seconds", "requests"), [(12 * 3600, 1), (60, 2)], ids=["fresh", "about to expire"])
def test_token_is_kept_until_shortly_before_it_expires(aws, monkeypatch, seconds, requests):
    data = {"authorizationToken": base64.b64encode(b"AWS:x").decode(), "expiresAt": time.time() + seconds}
    with scripted(Reply(200, json.dumps({"authorizationData": [data]}).encode())) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server.host}")
        door = AwsRegion(REGION)
        assert door.registry_credentials(ACCOUNT) == door.registry_credentials(ACCOUNT)
        assert len(server.seen) == requests


def test_missing_repository_is_created_as_asked(aws):
    options = RepositoryOptions(scan_on_push=True, immutable_tags=True, kms_key="alias/own", tags=(("team", "ml"),))
    assert AwsRegion(REGION).ensure_repository(ACCOUNT, NAME, options)
    ecr = boto3.client("ecr", region_name=REGION)
    description = ecr.describe_repositories(repositoryNames=[NAME])["repositories"][0]
    assert description["imageTagMutability"] == "IMMUTABLE"
    assert description["imageScanningConfiguration"] == {"scanOnPush": True}
    assert description["encryptionConfiguration"] == {"encryptionType": "KMS", "kmsKey": "alias/own"}
    tags = ecr.list_tags_for_resource(resourceArn=description["repositoryArn"])["tags"]
    assert tags == [{"Key": "team", "Value": "ml"}]


def test_existing_repository_keeps_its_settings(aws):
    door = AwsRegion(REGION)
    assert door.ensure_repository(ACCOUNT, NAME, RepositoryOptions(immutable_tags=True))
    assert not door.ensure_repository(ACCOUNT, NAME, RepositoryOptions(immutable_tags=False))
    repositories = boto3.client("ecr", region_name=REGION).describe_repositories(repositoryNames=[NAME])["repositories"]
    assert [repository["imageTagMutability"] for repository in repositories] == ["IMMUTABLE"]


def test_repository_that_somebody_creates_in_between_is_fine(aws, monkeypatch):
    missing = {"__type": "RepositoryNotFoundException", "message": "missing"}
    exists = {"__type": "RepositoryAlreadyExistsException", "message": "exists"}
    with scripted(Reply(400, json.dumps(missing).encode()), Reply(400, json.dumps(exists).encode())) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server.host}")
        assert not AwsRegion(REGION).ensure_repository(ACCOUNT, NAME, RepositoryOptions())
        assert len(server.seen) == 2


def test_refused_creation_names_the_missing_permission(aws, monkeypatch):
    missing = {"__type": "RepositoryNotFoundException", "message": "missing"}
    denied = {"__type": "AccessDeniedException", "Message": "User is not authorized"}  # as ECR writes it: HTTP 400
    with scripted(Reply(400, json.dumps(missing).encode()), Reply(400, json.dumps(denied).encode())) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server.host}")
        with pytest.raises(AwsError, match="AccessDeniedException: User is not authorized") as caught:
            AwsRegion(REGION).ensure_repository(ACCOUNT, NAME, RepositoryOptions())
    assert 'Allow "ecr:CreateRepository"' in caught.value.next_step


def test_who_may_push_and_not_look_goes_on_and_creates_nothing(powerless):
    """Whether the repository is there, the registry itself says at the push."""
    assert not AwsRegion(REGION).ensure_repository(ACCOUNT, NAME, RepositoryOptions())


def test_another_refusal_to_look_is_an_error_that_names_action_and_repository(aws, monkeypatch):
    expired = {"__type": "ExpiredTokenException", "message": "expired"}
    with scripted(Reply(400, json.dumps(expired).encode())) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server.host}")
        with pytest.raises(AwsError, match="ecr:DescribeRepositories") as caught:
            AwsRegion(REGION).ensure_repository(ACCOUNT, NAME, RepositoryOptions())
    assert NAME in caught.value.message
    assert "session has ended" in caught.value.next_step


@pytest.mark.parametrize(
    ("region", "hosts"),
    [
        ("us-west-2", {"ecr.us-west-2.amazonaws.com", "ecr-fips.us-west-2.amazonaws.com"}),
        ("cn-north-1", {"ecr.cn-north-1.amazonaws.com.cn", "ecr-fips.cn-north-1.amazonaws.com.cn"}),
    ],
)
def test_a_registry_has_a_name_that_answers_over_ipv6_too(region, hosts):
    names = AwsRegion(region).registry_hosts(ACCOUNT)
    dual = "on.aws" if region == "us-west-2" else "on.amazonwebservices.com.cn"
    assert {host.removeprefix(f"{ACCOUNT}.dkr").lstrip(".-") for host in names} == hosts | {
        f"ecr.{region}.{dual}", f"ecr-fips.{region}.{dual}",
    }  # fmt: skip
    assert len(names) == 4


def test_unknown_access_key_says_so(aws, monkeypatch):
    requests.post(f"{aws}/moto-api/reset-auth", data="0", timeout=120)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN")
    with pytest.raises(AwsError, match="refused") as caught:
        AwsRegion(REGION).identity()
    assert "access key" in caught.value.next_step


def test_no_credentials_says_how_to_configure(aws, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AwsError, match="no AWS credentials") as caught:
        AwsRegion(REGION).identity()
    assert "aws configure" in caught.value.next_step


def test_unknown_profile_is_an_aws_error(aws, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "absent")
    with pytest.raises(AwsError, match="absent"):
        AwsRegion(REGION).identity()


def test_silent_endpoint_is_an_aws_error(aws, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(AwsError, match="did not answer") as caught:
        AwsRegion(REGION).identity()
    assert "AWS_ENDPOINT_URL" in caught.value.next_step


def test_malformed_endpoint_is_an_aws_error(aws, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    with pytest.raises(AwsError, match="nonsense"):
        AwsRegion(REGION).identity()


def test_tag_that_is_not_there_is_not_removed(aws):
    door = AwsRegion(REGION)
    door.ensure_repository(ACCOUNT, NAME, RepositoryOptions())
    assert not door.remove_tag(ACCOUNT, NAME, "absent")


@pytest.mark.parametrize(
    ("region", "host", "name"),
    [
        ("us-west-2", "123456789012.dkr.ecr.us-west-2.amazonaws.com", "aws"),
        ("cn-north-1", "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "aws-cn"),
        ("us-gov-west-1", "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com", "aws-us-gov"),
        ("us-iso-east-1", "123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", "aws-iso"),
    ],
)
def test_registry_host_follows_the_partition(region, host, name):
    assert AwsRegion(region).registry_host(ACCOUNT) == host
    assert partition(region) == name


def test_region_that_aws_cannot_have_is_named():
    with pytest.raises(ConfigurationError, match='"us-west" is not an AWS region'):
        AwsRegion("us-west").registry_host(ACCOUNT)


@pytest.mark.parametrize(
    ("variables", "region"),
    [({}, ""), ({"AWS_DEFAULT_REGION": "eu-west-1"}, "eu-west-1"),
     ({"AWS_REGION": "eu-west-2", "AWS_DEFAULT_REGION": "eu-west-1"}, "eu-west-2")],
    ids=["none", "default", "AWS_REGION first"],
)  # fmt: skip
def test_configured_region_is_found_as_the_aws_cli_does(aws, monkeypatch, variables, region):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert configured_region() == region
