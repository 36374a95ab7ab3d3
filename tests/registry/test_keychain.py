"""Who we are for which registry."""

from __future__ import annotations

import base64
import json

import pytest

from support.aws import ACCOUNT
from xgbpatch.errors import RegistryError
from xgbpatch.reference import ImageReference
from xgbpatch.registry.keychain import Keychain


@pytest.fixture
def logged_in(tmp_path, monkeypatch):
    """Write Docker's configuration as `docker login` does."""

    def write(document):
        (tmp_path / "config.json").write_text(document if isinstance(document, str) else json.dumps(document))
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    return write


def login(username, password):
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}


def credentials(name):
    found = Keychain()(ImageReference.parse(name))
    return (found.username, found.password) if found else None


@pytest.mark.parametrize("host", ["dkr.ecr", "dkr.ecr-fips"])
def test_ecr_is_asked_of_aws_even_where_docker_has_a_login(aws, logged_in, host):
    name = f"{ACCOUNT}.{host}.us-west-2.amazonaws.com"
    logged_in({"auths": {name: login("AWS", "stale")}})
    assert credentials(f"{name}/a:1") == ("AWS", f"{ACCOUNT}-auth-token")


def test_host_that_only_looks_like_ecr_gets_no_token(aws, logged_in):
    logged_in({})
    assert credentials(f"{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com.evil.example/a:1") is None


def test_other_registries_take_dockers_login(logged_in):
    logged_in({"auths": {"registry.example.com": login("me", "pass:word")}})
    assert credentials("registry.example.com/a:1") == ("me", "pass:word")
    assert credentials("other.example.com/a:1") is None


def test_credential_helper_is_asked(logged_in, tmp_path, monkeypatch):
    helper = tmp_path / "docker-credential-vault"
    helper.write_text('#!/bin/sh\nread host\necho "{\\"Username\\": \\"for\\", \\"Secret\\": \\"$host\\"}"\n')
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    logged_in({"credsStore": "vault"})
    assert credentials("registry.example.com/a:1") == ("for", "registry.example.com")


def test_helper_that_is_missing_falls_back_to_the_stored_login(logged_in):
    logged_in({"credsStore": "absent", "auths": {"registry.example.com": login("me", "x")}})
    assert credentials("registry.example.com/a:1") == ("me", "x")


def test_broken_docker_configuration_is_named(logged_in, tmp_path):
    logged_in("{")
    with pytest.raises(RegistryError, match=r"config\.json"):
        credentials("registry.example.com/a:1")
