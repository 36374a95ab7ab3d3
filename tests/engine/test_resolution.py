"""Resolution against a real registry and a real engine."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass

import docker
import pytest
import requests

from support import registries
from support.layers import tar_of
from xgbpatch.build.resolve import resolve
from xgbpatch.catalogue import image_uri
from xgbpatch.errors import BaseImageError, ConfigurationError, RegistryError
from xgbpatch.oci.manifest import DOCKER_CONFIG, DOCKER_INDEX, DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from xgbpatch.reference import ImageReference
from xgbpatch.registry.client import Registry
from xgbpatch.spec import Architecture, Spec

NOWHERE = "sha256:" + "0" * 64


@dataclass(frozen=True)
class Loopback:
    """A running registry; puts documents as a client would."""

    host: str

    def image(self, tag, architecture="amd64", kind=DOCKER_MANIFEST):
        config = json.dumps({"architecture": architecture, "os": "linux"}).encode()
        base = f"http://{self.host}/v2/team/base"
        where = requests.post(f"{base}/blobs/uploads/", timeout=300).headers["Location"]
        requests.put(f"{where}&digest={sha256(config)}", data=config, timeout=300).raise_for_status()
        media_type = DOCKER_CONFIG if kind == DOCKER_MANIFEST else OCI_CONFIG
        entry = {"mediaType": media_type, "digest": sha256(config), "size": len(config)}
        return self.put(tag, {"schemaVersion": 2, "mediaType": kind, "config": entry, "layers": []})

    def index(self, tag, kind, **digests):
        manifests = [
            {
                "mediaType": DOCKER_MANIFEST if kind == DOCKER_INDEX else OCI_MANIFEST,
                "digest": digest,
                "size": 1,
                "platform": {"os": "linux", "architecture": architecture},
            }
            for architecture, digest in digests.items()
        ]
        return self.put(tag, {"schemaVersion": 2, "mediaType": kind, "manifests": manifests})

    def put(self, tag, document):
        content = json.dumps(document).encode()
        answer = requests.put(
            f"http://{self.host}/v2/team/base/manifests/{tag}",
            data=content,
            headers={"Content-Type": document["mediaType"]},
            timeout=300,
        )
        answer.raise_for_status()
        return sha256(content)


def sha256(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture(scope="module")
def loopback(tmp_path_factory):
    with registries.registry(tmp_path_factory.mktemp("registry")) as started:
        yield Loopback(started.host)


@pytest.fixture
def registry():
    return Registry(lambda reference: None)


@pytest.fixture
def local_image():
    """A tiny image of the engine's own, by name."""
    client = docker.APIClient()
    name = f"xgbpatch-test/{secrets.token_hex(4)}:1.5-1"
    client.import_image_from_data(tar_of([("empty", b"")]), *name.split(":"))
    yield name
    client.remove_image(name, force=True)
    client.close()


def spec(reference, architecture=Architecture.AMD64):
    return Spec("1.5-1", "us-west-2", architecture=architecture, base_image=ImageReference.parse(reference))


@pytest.mark.parametrize("kind", [DOCKER_MANIFEST, OCI_MANIFEST], ids=["docker", "oci"])
def test_a_tag_becomes_its_digest(loopback, registry, kind):
    digest = loopback.image("single", kind=kind)
    base = resolve(spec(f"{loopback.host}/team/base:single"), registry)
    assert base.reference == ImageReference(loopback.host, "team/base", "single", digest)
    assert (base.version, base.architecture) == ("1.5-1", Architecture.AMD64)


@pytest.mark.parametrize("kind", [DOCKER_INDEX, OCI_INDEX], ids=["docker", "oci"])
@pytest.mark.parametrize("architecture", Architecture, ids=lambda item: item.value)
def test_an_index_becomes_the_manifest_of_the_architecture(loopback, registry, kind, architecture):
    member = DOCKER_MANIFEST if kind == DOCKER_INDEX else OCI_MANIFEST
    digests = {item.value: loopback.image(item.value, item.value, member) for item in Architecture}
    loopback.index("index", kind, **digests)
    base = resolve(spec(f"{loopback.host}/team/base:index", architecture), registry)
    assert base.reference.digest == digests[architecture.value]
    assert base.reference.tag == "index"


def test_an_index_without_the_architecture_names_what_it_holds(loopback, registry):
    loopback.index("one", DOCKER_INDEX, amd64=loopback.image("amd64"))
    with pytest.raises(RegistryError, match='no image for "linux/arm64"') as caught:
        resolve(spec(f"{loopback.host}/team/base:one", Architecture.ARM64), registry)
    assert "linux/amd64" in caught.value.next_step


def test_a_missing_tag_is_a_missing_base(loopback, registry):
    loopback.image("there")
    with pytest.raises(BaseImageError, match=f'there is no image "{loopback.host}/team/base:absent"') as caught:
        resolve(spec(f"{loopback.host}/team/base:absent"), registry)
    assert caught.value.next_step


def test_a_digest_is_used_where_there_is_such_an_image(loopback, registry):
    digest = loopback.image("single")
    named = f"{loopback.host}/team/base:another-by-now@{digest}"
    assert resolve(spec(named), registry).reference == ImageReference.parse(named)
    with pytest.raises(BaseImageError, match="there is no image"):
        resolve(spec(f"{loopback.host}/team/base:single@{NOWHERE}"), registry)


def test_a_local_base_is_pinned_by_its_image_id(engine, registry, local_image):
    image = engine.image(local_image)
    base = resolve(spec(local_image), registry, engine)
    assert base.reference == ImageReference.parse(local_image).with_digest(image.id)
    assert engine.image(base.reference.digest) == image


def test_a_local_base_may_be_named_by_its_id(engine, registry, local_image):
    image = engine.image(local_image)
    name, _, _ = local_image.partition(":")
    assert resolve(spec(f"{name}@{image.id}"), registry, engine).reference.digest == image.id


def test_a_local_base_of_another_architecture_is_refused(engine, registry, local_image):
    with pytest.raises(BaseImageError, match='built for "amd64" and not for "arm64"'):
        resolve(spec(local_image, Architecture.ARM64), registry, engine)


def test_a_missing_local_base_says_what_to_do(engine, registry):
    with pytest.raises(BaseImageError, match='the local engine holds no image "xgbpatch-test/none:1"') as caught:
        resolve(spec("xgbpatch-test/none:1"), registry, engine)
    assert "registry host" in caught.value.next_step


def test_a_local_base_needs_an_engine(registry):
    with pytest.raises(ConfigurationError, match="no engine was given"):
        resolve(spec("base:1"), registry)


def test_the_official_image_is_asked_for_at_its_own_registry():
    calls = []

    class Refusing(Registry):
        def head(self, reference):
            calls.append(reference)

    with pytest.raises(BaseImageError, match="there is no image") as caught:
        resolve(Spec("3.2-0", "eu-west-1"), Refusing(lambda reference: None))
    assert calls == [image_uri("3.2-0", "eu-west-1")]
    assert 'version "3.2-0" in "eu-west-1"' in caught.value.next_step
