"""Which credentials are sent to which registry."""

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
    credentials = Keychain()(ImageReference.parse(name))
    return (credentials.username, credentials.password) if credentials else None


def token(name):
    credentials = Keychain()(ImageReference.parse(name))
    return credentials.identity_token if credentials else None


ECR = [
    "dkr.ecr.us-west-2.amazonaws.com", "dkr.ecr-fips.us-west-2.amazonaws.com",
    "dkr-ecr.us-west-2.on.aws", "dkr-ecr-fips.us-west-2.on.aws",
]  # fmt: skip


@pytest.mark.parametrize("host", ECR)
def test_ecr_is_asked_of_aws_even_where_docker_has_a_login(aws, logged_in, host):
    name = f"{ACCOUNT}.{host}"
    logged_in({"auths": {name: login("AWS", "stale")}})
    assert credentials(f"{name}/a:1") == ("AWS", f"{ACCOUNT}-auth-token")


def test_host_that_only_looks_like_ecr_gets_no_token(aws, logged_in):
    logged_in({})
    for host in ECR:
        assert credentials(f"{ACCOUNT}.{host}.evil.example/a:1") is None
    assert credentials(f"{ACCOUNT}.dkr-ecr.us-west-2.amazonaws.com/a:1") is None
    assert credentials(f"{ACCOUNT}.dkr.ecr.us-west-2.on.aws/a:1") is None


def test_other_registries_take_dockers_login(logged_in):
    logged_in({"auths": {"registry.example.com": login("me", "pass:word")}})
    assert credentials("registry.example.com/a:1") == ("me", "pass:word")
    assert credentials("other.example.com/a:1") is None


UUID = "00000000-0000-0000-0000-000000000000"
FORMS = {
    "auth": login("me", "pass:word"),
    "auth that ends in zeros": login("me", "pass:word\0\0"),
    "name and password": {"username": "me", "password": "pass:word"},
    "auth before name and password": {**login("me", "pass:word"), "username": "other", "password": "other"},
    "auth and null": {**login("me", "pass:word"), "identitytoken": None, "email": "me@example.com"},
}


@pytest.mark.parametrize("entry", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(
    "key",
    [
        "registry.example.com", "https://registry.example.com", "https://registry.example.com/",
        "http://registry.example.com/v1/", "https://Registry.example.com/v2/",
    ],
)  # fmt: skip
def test_a_login_is_found_in_every_form_and_under_every_name(logged_in, key, entry):
    logged_in({"auths": {"https://registry.example.com.evil.example/": login("a", "b"), key: entry}})
    assert credentials("registry.example.com/a:1") == ("me", "pass:word")
    assert credentials("example.com/a:1") is None
    assert credentials("registry.example.com:5000/a:1") is None


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"])
@pytest.mark.parametrize("host", ["docker.io", "index.docker.io"])
def test_docker_hub_has_several_names(logged_in, key, host):
    logged_in({"auths": {key: login("me", "x")}})
    assert credentials(f"{host}/a:1") == ("me", "x")


@pytest.mark.parametrize("key", ["registry.example.com", "https://registry.example.com/v1/"])
def test_an_identity_token_is_no_password(logged_in, key):
    logged_in({"auths": {key: {**login(UUID, ""), "identitytoken": "refresh-me"}}})
    assert token("registry.example.com/a:1") == "refresh-me"


NOTHING = {
    "empty": {}, "null": {"auths": None, "credHelpers": None, "credsStore": None}, "no auths": {"credsStore": ""},
    "null for the registry": {"auths": {"registry.example.com": None}},
    "nothing for the registry": {"auths": {"registry.example.com": {}}},
    "an empty auth": {"auths": {"registry.example.com": {"auth": ""}}},
    "other settings": {"currentContext": "x", "HttpHeaders": {"User-Agent": "y"}, "proxies": {"default": {}}},
}  # fmt: skip


@pytest.mark.parametrize("document", NOTHING.values(), ids=NOTHING)
def test_a_file_without_a_login_leaves_us_anonymous(logged_in, document):
    logged_in(document)
    assert credentials("registry.example.com/a:1") is None


DAMAGED = {
    "no JSON": "{", "a list": "[]", "auths that are a list": {"auths": []},
    "a login that is a word": {"auths": {"a": "b"}}, "a number for an auth": {"auths": {"a": {"auth": 1}}},
    "helpers that are a word": {"credHelpers": "x"}, "deeper than Python reads": "[" * 100_000, "no text": "\ud800",
}  # fmt: skip


@pytest.mark.parametrize("document", DAMAGED.values(), ids=DAMAGED)
def test_a_file_that_is_no_login_file_is_named(logged_in, tmp_path, document):
    if document == "\ud800":
        logged_in({})
        (tmp_path / "config.json").write_bytes(b"\xff\xfe")
    else:
        logged_in(document)
    with pytest.raises(RegistryError, match=r"config\.json"):
        credentials("registry.example.com/a:1")


@pytest.mark.parametrize("auth", ["no base64!", base64.b64encode(b"\xff\xff").decode()])
def test_an_auth_that_is_none_names_registry_and_file(logged_in, auth):
    logged_in({"auths": {"registry.example.com": {"auth": auth}}})
    with pytest.raises(RegistryError, match=r"registry\.example\.com.*config\.json") as caught:
        credentials("registry.example.com/a:1")
    assert auth not in caught.value.message


@pytest.fixture
def helper(tmp_path, monkeypatch):
    """Make `docker-credential-vault`, whose text on stdin is the server's name as `$host`."""

    def write(script):
        path = tmp_path / "docker-credential-vault"
        path.write_text(f"#!/bin/sh\nread host\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return write


@pytest.mark.parametrize(
    "document",
    [
        {"credsStore": "vault"},
        {"credHelpers": {"registry.example.com": "vault"}, "credsStore": "absent"},
        {"credHelpers": {"https://registry.example.com/v1/": "vault"}},
        {"credsStore": "vault", "auths": {"registry.example.com": {}}},
    ],
    ids=["a store", "a helper of the registry", "under an address", "a store, with docker's mark"],
)
def test_a_credential_helper_is_asked(logged_in, helper, document):
    helper('echo "{\\"Username\\": \\"for\\", \\"Secret\\": \\"$host\\"}"')
    logged_in(document)
    assert credentials("registry.example.com/a:1") == ("for", "registry.example.com")


def test_a_store_is_asked_under_the_name_that_docker_noted(logged_in, helper):
    helper('[ "$host" = https://registry.example.com/v1/ ] && echo \'{"Username": "me", "Secret": "x"}\'')
    logged_in({"credsStore": "vault", "auths": {"https://registry.example.com/v1/": {}}})
    assert credentials("registry.example.com/a:1") == ("me", "x")


def test_a_store_knows_docker_hub_by_its_old_address(logged_in, helper):
    helper('echo "{\\"Username\\": \\"me\\", \\"Secret\\": \\"$host\\"}"')
    logged_in({"credsStore": "vault"})
    assert credentials("docker.io/a:1") == ("me", "https://index.docker.io/v1/")


def test_a_helper_gives_an_identity_token_under_the_name_token(logged_in, helper):
    helper('echo \'{"ServerURL": "x", "Username": "<token>", "Secret": "refresh-me"}\'')
    logged_in({"credsStore": "vault"})
    assert token("registry.example.com/a:1") == "refresh-me"
    assert credentials("registry.example.com/a:1") == ("", "")


@pytest.mark.parametrize(
    "script",
    [
        "exit 1", "echo no credentials; exit 1", "echo", "echo []", "printf '\\377'",
        """echo '{"Username": "", "Secret": ""}'""", """echo '{"Username": 1, "Secret": 2}'""",
    ],
)  # fmt: skip
def test_a_helper_without_an_answer_leaves_it_to_the_stored_login(logged_in, helper, script):
    helper(script)
    logged_in({"credsStore": "vault", "auths": {"registry.example.com": login("me", "x")}})
    assert credentials("registry.example.com/a:1") == ("me", "x")


def test_helper_that_is_missing_falls_back_to_the_stored_login(logged_in):
    logged_in({"credsStore": "absent", "auths": {"registry.example.com": login("me", "x")}})
    assert credentials("registry.example.com/a:1") == ("me", "x")
