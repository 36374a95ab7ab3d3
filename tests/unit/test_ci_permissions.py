"""The roles in the templates are allowed every call that xgbpatch makes of ECR and SageMaker, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import boto3
import pytest

import xgbpatch.aws
from xgbpatch.catalogue import image_uri
from xgbpatch.pipelines.permissions import PUSH, USAGE, base_accounts
from xgbpatch.reference import EcrRegistry

ELSEWHERE = {
    "ecr:GetAuthorizationToken",  # has a statement of its own: no resource can be named
    "ecr:CreateRepository",  # the repository is there: the starter template makes it, or the user
}
BY_HTTP = {"ecr:BatchGetImage", "ecr:ListImages"}  # the registry's own API: manifests and lists of tags


def calls(service: str) -> set[str]:
    """The actions behind every word of our one door to AWS that is a method of boto3's client."""
    client = boto3.client(service, region_name="us-west-2", aws_access_key_id="a", aws_secret_access_key="b")
    methods = client.meta.method_to_api_mapping
    folder = Path(xgbpatch.aws.__file__).parent
    words = {word for path in folder.glob("*.py") for word in re.findall(r"[\"'.]([a-z_]+)[\"'(]", path.read_text())}
    return {f"{service}:{methods[word]}" for word in words & set(methods)}


@pytest.mark.parametrize(("service", "allowed"), [("ecr", PUSH), ("sagemaker", USAGE)], ids=["ecr", "sagemaker"])
def test_the_roles_are_allowed_the_calls_that_are_made_and_no_others(service, allowed):
    made = calls(service)
    assert made - set(allowed) - ELSEWHERE == set()
    assert set(allowed) - made - BY_HTTP == set()


def test_what_looks_at_sagemaker_changes_nothing():
    assert all(re.match(r"sagemaker:(List|Describe)", action) for action in USAGE)


def test_the_accounts_are_those_of_the_bases():
    assert len(base_accounts()) > 30
    for region, account in base_accounts():
        assert image_uri("3.2-0", region).ecr == EcrRegistry(account, region)
