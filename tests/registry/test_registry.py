"""The registry's HTTP API: on a real registry, and on scripted servers for what a real one never does."""

from __future__ import annotations

import email.utils
import json
import time
from urllib.parse import parse_qs

import pytest

from support.registries import USER
from support.servers import Reply, scripted
from xgbpatch.errors import RegistryError
from xgbpatch.oci import manifest as oci_manifest
from xgbpatch.oci.manifest import Manifest
from xgbpatch.reference import Credentials, ImageReference
from xgbpatch.registry.client import Registry
from xgbpatch.registry.http import RegistryRequest
from xgbpatch.registry.transport import host_of

TYPE = {"Content-Type": oci_manifest.DOCKER_MANIFEST}
FINE = Reply(200, b'{"schemaVersion": 2}', TYPE)


def anonymous(reference):
    return None


def known(reference):
    return USER


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def client(pauses):
    return Registry(anonymous, pauses.append)


def at(server, name="a/b:1"):
    return ImageReference.parse(f"{server.host}/{name}")


@pytest.mark.parametrize("credentials", [None, Credentials("someone", "wrong")], ids=["none", "wrong"])
def test_refused_credentials_are_an_error_that_keeps_the_password(trusted, credentials):
    with pytest.raises(RegistryError, match="HTTP 401: UNAUTHORIZED") as caught:
        Registry(lambda reference: credentials).manifest(trusted.reference("a/b:1"))
    assert "docker login" in caught.value.next_step
    assert "wrong" not in caught.value.message


def test_untrusted_certificate_is_an_error_and_no_downgrade(guarded, monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    with pytest.raises(RegistryError, match="is not trusted") as caught:
        Registry(known).head(guarded.reference("a/b:1"))
    assert "REQUESTS_CA_BUNDLE" in caught.value.next_step


def test_missing_ca_bundle_is_named(guarded, monkeypatch, client):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/absent/ca.pem")
    with pytest.raises(RegistryError, match=r"/absent/ca\.pem"):
        client.head(guarded.reference("a/b:1"))


def test_registry_that_refuses_a_manifest_is_quoted(plain, client):
    with pytest.raises(RegistryError, match="MANIFEST_") as caught:
        client.put_manifest(plain.reference("a/b:1"), Manifest(b"{}", oci_manifest.DOCKER_MANIFEST))
    assert "a/b:1" in caught.value.message
    assert plain.tags("a/b") == []


def test_manifest_without_its_blobs_is_refused(plain, client):
    nothing = {"mediaType": oci_manifest.DOCKER_CONFIG, "size": 1, "digest": "sha256:" + "a" * 64}
    document = {"schemaVersion": 2, "mediaType": oci_manifest.DOCKER_MANIFEST, "config": nothing, "layers": []}
    with pytest.raises(RegistryError, match="MANIFEST_BLOB_UNKNOWN"):
        client.put_manifest(
            plain.reference("a/b:1"), Manifest(json.dumps(document).encode(), oci_manifest.DOCKER_MANIFEST)
        )


def test_tag_that_distribution_2_cannot_remove_is_told(plain, client):
    assert not client.remove_tag(plain.reference("a/b:1"))


def test_tag_is_removed_where_the_registry_can(client):
    with scripted(Reply(202)) as server:
        assert client.remove_tag(at(server))
        assert server.seen[-1][:2] == ("DELETE", "/v2/a/b/manifests/1")


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_server_error_is_tried_again(client, pauses, status):
    with scripted(Reply(status), Reply(status), FINE) as server:
        assert client.manifest(at(server)).content == FINE.body
    assert pauses == [0.5, 1.0]


def test_server_error_that_stays_is_an_error_with_the_registrys_words(client, pauses):
    body = b'{"errors": [{"code": "UNKNOWN", "message": "disk on fire"}]}'
    with scripted(Reply(500, body)) as server, pytest.raises(RegistryError, match="500: UNKNOWN: disk on fire"):
        client.manifest(at(server))
    assert len(pauses) == 3


@pytest.mark.parametrize(
    "retry_after", ["7", pytest.param(email.utils.formatdate(time.time() + 3600 * 24, usegmt=True), id="date")]
)
def test_too_many_requests_waits_as_long_as_asked_or_says_so(client, pauses, retry_after):
    with scripted(Reply(429, headers={"Retry-After": retry_after}), FINE) as server:
        if retry_after == "7":
            assert client.manifest(at(server)).content == FINE.body
        else:
            with pytest.raises(RegistryError, match="HTTP 429"):
                client.manifest(at(server))
    assert pauses == ([7.0] if retry_after == "7" else [])


def test_retry_after_that_is_no_number_is_not_heeded(client, pauses):
    with scripted(Reply(429, headers={"Retry-After": "²"}), FINE) as server:
        assert client.manifest(at(server)).content == FINE.body
    assert pauses == [0.5]


def test_real_pause_follows_retry_after():
    with scripted(Reply(429, headers={"Retry-After": "1"}), FINE) as server:
        begun = time.monotonic()
        Registry(anonymous).manifest(at(server))
        assert time.monotonic() - begun >= 1


def test_long_retry_after_is_not_waited_for(client, pauses):
    reply = Reply(429, headers={"Retry-After": "3600"})
    with scripted(reply) as server, pytest.raises(RegistryError, match="HTTP 429") as caught:
        client.manifest(at(server))
    assert "3600 s" in caught.value.next_step
    assert pauses == []


def test_registry_that_is_not_there_is_tried_again_and_named(client, pauses):
    with scripted(FINE) as server:
        reference = at(server)
    with pytest.raises(RegistryError, match="did not answer 4 times"):
        client.manifest(reference)
    assert len(pauses) == 3


def test_connection_that_breaks_in_the_body_is_tried_again(client, pauses):
    cut = Reply(200, b'{"sch', {**TYPE, "Content-Length": "4000"})
    with scripted(cut, FINE) as server:
        assert client.manifest(at(server)).content == FINE.body
    assert pauses == [0.5]


@pytest.mark.parametrize("by", ["header", "reference"])
def test_wrong_digest_is_an_error(client, by):
    wrong = "sha256:" + "0" * 64
    reply = Reply(200, FINE.body, {**TYPE, "Docker-Content-Digest": wrong} if by == "header" else TYPE)
    with scripted(reply) as server, pytest.raises(RegistryError, match="wrong bytes"):
        client.manifest(at(server) if by == "header" else at(server).with_digest(wrong))


def test_description_of_another_digest_than_the_one_asked_for_is_an_error(client):
    reply = Reply(200, FINE.body, {**TYPE, "Docker-Content-Digest": "sha256:" + "2" * 64})
    with scripted(reply) as server, pytest.raises(RegistryError, match="wrong bytes"):
        client.head(at(server).with_digest("sha256:" + "1" * 64))


@pytest.mark.parametrize("content", [b"[]", b"no json", b"\xff"], ids=["list", "text", "no text"])
def test_configuration_that_is_no_json_object_is_an_error_that_names_it(client, content):
    digest = oci_manifest.digest_of(content)
    config = {"mediaType": oci_manifest.DOCKER_CONFIG, "size": len(content), "digest": digest}
    manifest = Manifest(json.dumps({"config": config}).encode(), oci_manifest.DOCKER_MANIFEST)
    with scripted(Reply(200, content)) as server, pytest.raises(RegistryError, match=f"{digest}.* is not"):
        client.config(at(server), manifest)


@pytest.mark.parametrize("content", [b"<html>login</html>", b"[]", b'{"tags": "123"}', b'{"tags": [{}]}'])
def test_list_of_tags_that_is_none_is_an_error_that_names_the_repository(client, content):
    with scripted(Reply(200, content)) as server, pytest.raises(RegistryError, match=f"{server.host}/a/b"):
        client.tags(at(server))


def test_configuration_with_a_wrong_digest_is_an_error(client):
    config = {"mediaType": oci_manifest.DOCKER_CONFIG, "size": 2, "digest": "sha256:" + "0" * 64}
    manifest = Manifest(json.dumps({"config": config}).encode(), oci_manifest.DOCKER_MANIFEST)
    with scripted(Reply(200, b"{}")) as server, pytest.raises(RegistryError, match="wrong bytes"):
        client.config(at(server), manifest)


def test_endless_body_is_refused(client):
    with scripted(Reply(200, b" " * (9 << 20), TYPE)) as server, pytest.raises(RegistryError, match="more than 8 MiB"):
        client.manifest(at(server))


def test_bearer_token_is_fetched_as_the_challenge_says():
    with scripted(Reply(200, b'{"token": "t0k3n"}')) as issuer:
        challenge = f'Bearer realm="http://{issuer.host}/token",service="here",scope="repository:a/b:pull"'
        with scripted(Reply(401, headers={"WWW-Authenticate": challenge}), FINE) as server:
            assert Registry(known).manifest(at(server)).content == FINE.body
            assert server.seen[-1][2]["Authorization"] == "Bearer t0k3n"
        method, path, headers = issuer.seen[-1]
        assert (method, path) == ("GET", "/token?service=here&scope=repository%3Aa%2Fb%3Apull")
        assert headers["Authorization"].startswith("Basic ")


def test_an_identity_token_is_exchanged_at_the_issuer_and_never_sent_as_a_password():
    with scripted(Reply(200, b'{"access_token": "t0k3n"}')) as issuer:
        challenge = f'Bearer realm="http://{issuer.host}/token",service="here",scope="repository:a/b:pull"'
        with scripted(Reply(401, headers={"WWW-Authenticate": challenge}), FINE) as server:
            registry = Registry(lambda reference: Credentials("", "", "refresh-me"))
            assert registry.manifest(at(server)).content == FINE.body
            assert server.seen[-1][2]["Authorization"] == "Bearer t0k3n"
        method, path, headers = issuer.seen[-1]
        assert (method, path) == ("POST", "/token")
        assert "Authorization" not in headers
        assert parse_qs(issuer.bodies[-1].decode()) == {
            "grant_type": ["refresh_token"], "refresh_token": ["refresh-me"], "client_id": ["xgbpatch"],
            "service": ["here"], "scope": ["repository:a/b:pull"],
        }  # fmt: skip


def test_an_identity_token_is_nothing_for_a_registry_that_wants_a_password():
    challenge = Reply(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    with scripted(challenge, challenge) as server, pytest.raises(RegistryError, match="HTTP 401") as caught:
        Registry(lambda reference: Credentials("", "", "refresh-me")).manifest(at(server))
    assert all("Authorization" not in headers for _, _, headers in server.seen)
    assert "docker login" in caught.value.next_step


def test_token_that_expired_is_replaced():
    with scripted(Reply(200, b'{"token": "one"}'), Reply(200, b'{"token": "two"}')) as issuer:
        challenge = Reply(401, headers={"WWW-Authenticate": f'Bearer realm="http://{issuer.host}/token"'})
        with scripted(challenge, FINE, challenge, FINE) as server:
            registry = Registry(anonymous)
            registry.manifest(at(server))
            registry.manifest(at(server))
            assert server.seen[-1][2]["Authorization"] == "Bearer two"


def test_realm_that_is_not_https_gets_no_password(client):
    challenge = 'Bearer realm="http://token.example.com/",service="x"'
    reply = Reply(401, headers={"WWW-Authenticate": challenge})
    with scripted(reply) as server, pytest.raises(RegistryError, match="not https"):
        client.manifest(at(server))


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Reg.Example.com/v2/", "reg.example.com"),
        ("https://reg.example.com:443/v2/", "reg.example.com"),
        ("http://127.0.0.1:80/v2/", "127.0.0.1"),
        ("https://reg.example.com:80/v2/", "reg.example.com:80"),
        ("https://reg.example.com:8443/v2/", "reg.example.com:8443"),
    ],
)
def test_host_has_one_spelling(url, host):
    assert host_of(url) == host


def test_upload_at_the_registry_under_another_spelling_of_its_name_keeps_the_password():
    with scripted() as server:
        here = ImageReference.parse(f"localhost:{server.server_port}/a/b")
        there = {"Location": f"http://LOCALHOST:{server.server_port}/upload"}
        challenge = Reply(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        server.replies = [challenge, Reply(202, headers=there)]
        session = Registry(known).session
        location = session.send(RegistryRequest(here, "POST", "blobs/uploads/")).location
        session.send(RegistryRequest(here, "PATCH", location, body=b"x"))
        assert server.seen[-1][:2] == ("PATCH", "/upload")
        assert server.seen[-1][2]["Authorization"].startswith("Basic ")


def test_netrc_is_never_used(client, tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with scripted(FINE) as server:
        client.manifest(at(server))
        assert all("Authorization" not in headers for _, _, headers in server.seen)


def test_name_without_a_registry_is_refused(client):
    with pytest.raises(RegistryError, match="names no registry"):
        client.head(ImageReference.parse("a/b:1"))
