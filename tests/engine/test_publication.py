"""Pushing with the real engine to real registries; what stands afterwards, locally and remotely."""

from __future__ import annotations

import json
from dataclasses import replace

import boto3
import docker
import pytest

from support.handmade import services_on
from support.registries import Kind, registry
from xgbpatch.aws import RepositoryOptions
from xgbpatch.engine.client import Engine
from xgbpatch.errors import ConfigurationError, RegistryError
from xgbpatch.oci import manifest
from xgbpatch.oci.manifest import Manifest
from xgbpatch.progress import Silent
from xgbpatch.provenance import BASE_DIGEST, PATCH_DIGEST, SPEC_DIGEST
from xgbpatch.publish import aliases
from xgbpatch.publish.push import INCOMING, Publisher, PushRequest, ecr_destination, push
from xgbpatch.reference import ImageReference
from xgbpatch.registry.client import Registry
from xgbpatch.registry.keychain import Keychain

MADE = {SPEC_DIGEST: "sha256:" + "1" * 64, BASE_DIGEST: "sha256:" + "2" * 64, PATCH_DIGEST: "sha256:" + "3" * 64}


class Lines(Silent):
    """Progress that keeps its sentences."""

    def __init__(self):
        self.lines = []

    def line(self, text):
        self.lines.append(text)


class ContainerdStoreEngine(Engine):
    """What an engine with containerd's store does in a push, on one without: the tag gets an OCI manifest.

    No package of Debian 12 has such an engine. Layers, configuration and registry are real.
    """

    layer_type = manifest.OCI_LAYER

    def information(self):
        return replace(super().information(), containerd_store=True)

    def push(self, reference, credentials, progress):
        digest = super().push(reference, credentials, progress)
        client = Registry(lambda _: credentials)
        original = client.manifest(reference.with_digest(digest))
        twin = {
            "schemaVersion": 2,
            "mediaType": manifest.OCI_MANIFEST,
            "config": {**original.document["config"], "mediaType": manifest.OCI_CONFIG},
            "layers": [{**layer, "mediaType": self.layer_type} for layer in original.document["layers"]],
        }
        self.landed = reference
        return client.put_manifest(reference, Manifest(json.dumps(twin).encode(), manifest.OCI_MANIFEST)).digest


class ZstdEngine(ContainerdStoreEngine):
    layer_type = "application/vnd.oci.image.layer.v1.tar+zstd"


@pytest.fixture
def lines():
    return Lines()


@pytest.fixture
def services(tmp_path, lines):
    return replace(services_on(tmp_path / "cache"), progress=lines)


@pytest.fixture
def publisher(engine, services):
    return Publisher(engine, services)


@pytest.fixture
def containerd_engine():
    with ContainerdStoreEngine.connect() as connected:
        yield connected


def push_request(image, plain, **more):
    return PushRequest(image, plain.reference("team/model:1.0"), **more)


def remote(reference):
    manifest = Registry(Keychain()).find(reference)
    return manifest.digest if manifest else None


def test_pushed_image_pulls_back_as_the_same(engine, plain, make_image, publisher):
    image = make_image(MADE)
    pushed = publisher.push(push_request(image, plain))
    assert (pushed.up_to_date, pushed.repaired) == (False, False)
    api = docker.APIClient()
    api.pull(pushed.reference.name, tag=pushed.reference.digest)
    assert engine.image(pushed.reference.pinned).id == image.id
    engine.remove(pushed.reference.pinned)
    api.close()


def test_push_leaves_the_local_names_as_they_were(engine, plain, make_image, services):
    image = make_image()
    push(engine, push_request(image, plain, aliases=("prod",)), services)
    assert engine.image(image.id).tags == image.tags


def test_name_that_the_user_gave_another_image_comes_back(engine, plain, make_image, publisher):
    image, other = make_image(), make_image()
    name = plain.reference("team/model:1.0")
    engine.tag(other.id, name)
    try:
        publisher.push(push_request(image, plain))
        assert engine.image(name).id == other.id
    finally:
        engine.remove(name)


def test_same_image_again_sends_nothing(plain, make_image, publisher, lines):
    image = make_image(MADE)
    first = publisher.push(push_request(image, plain, aliases=("prod",)))
    before = plain.writes()
    second = publisher.push(push_request(image, plain, aliases=("prod",)))
    assert second == replace(first, up_to_date=True)
    assert before > 0
    assert plain.writes() == before
    assert any("up to date" in line for line in lines.lines)


def test_labels_alone_make_no_rebuild_of_the_same_image(plain, make_image, publisher):
    first = publisher.push(push_request(make_image(MADE, b"one"), plain))
    with pytest.raises(RegistryError, match="its layers are others"):
        publisher.push(push_request(make_image(MADE, b"two"), plain))
    assert remote(plain.reference("team/model:1.0")) == first.reference.digest


@pytest.mark.parametrize("changed", [BASE_DIGEST, PATCH_DIGEST, SPEC_DIGEST])
def test_tag_that_holds_another_image_is_refused_and_stays(plain, make_image, publisher, changed):
    first = publisher.push(push_request(make_image(MADE), plain))
    labels = {label: value for label, value in MADE.items() if label != changed}
    with pytest.raises(RegistryError, match="already holds another image") as caught:
        publisher.push(push_request(make_image(labels), plain, aliases=("prod",)))
    assert "--tag" in caught.value.next_step
    assert remote(plain.reference("team/model:1.0")) == first.reference.digest
    assert plain.tags("team/model") == ["1.0"]


def test_alias_moves_to_the_image_pushed_last(plain, make_image, publisher):
    publisher.push(push_request(make_image(), plain, aliases=("prod",)))
    second = publisher.push(PushRequest(make_image(), plain.reference("team/model:2.0"), aliases=("prod", "next")))
    assert {remote(plain.reference(f"team/model:{tag}")) for tag in ("2.0", "prod", "next")} == {
        second.reference.digest
    }
    assert remote(plain.reference("team/model:1.0")) != second.reference.digest
    assert [alias.tag for alias in second.aliases] == ["prod", "next"]


def test_alias_that_moves_remembers_where_it_was_for_a_rollback(plain, make_image, publisher, tmp_path):
    first, second = (
        publisher.push(PushRequest(make_image(), plain.reference(f"team/model:{tag}"), aliases=("prod",))).reference
        for tag in ("1.0", "2.0")
    )
    assert remote(plain.reference("team/model:prod.previous")) == first.digest
    assert aliases.rollback_alias(services_on(tmp_path), first, "prod").before == second.digest
    assert remote(plain.reference("team/model:prod")) == first.digest


@pytest.mark.parametrize("name", ["prod.previous", "prod.withdrawn"])
def test_memory_of_an_alias_is_refused_as_one_before_anything_is_sent(plain, make_image, publisher, name):
    with pytest.raises(ConfigurationError, match="keeps what the alias named before"):
        publisher.push(push_request(make_image(), plain, aliases=(name,)))
    assert plain.writes() == 0


def test_version_tag_of_another_image_does_not_move_as_an_alias(plain, make_image, publisher):
    tag = "3.2-0-222222222222-11111111"
    pushed = publisher.push(PushRequest(make_image(MADE), plain.reference(f"team/model:{tag}")))
    with pytest.raises(ConfigurationError, match="version tag"):
        publisher.push(push_request(make_image(), plain, aliases=(tag,)))
    assert remote(plain.reference(f"team/model:{tag}")) == pushed.reference.digest


def test_alias_moves_although_the_image_is_up_to_date(plain, make_image, publisher):
    image = make_image()
    publisher.push(push_request(image, plain))
    pushed = publisher.push(push_request(image, plain, aliases=("prod",)))
    assert pushed.up_to_date
    assert remote(plain.reference("team/model:prod")) == pushed.reference.digest


def test_oci_manifest_is_repaired_before_the_tag_exists(containerd_engine, plain, make_image, services):
    image = make_image()
    publisher = Publisher(containerd_engine, services)
    pushed = publisher.push(push_request(image, plain, aliases=("prod",)))
    stored = Registry(Keychain()).manifest(plain.reference("team/model:1.0"))
    assert pushed.repaired
    assert manifest.complaints(stored) == ()
    assert (stored.digest, stored.config.digest) == (pushed.reference.digest, image.id)
    assert containerd_engine.landed.tag.startswith(INCOMING)
    assert containerd_engine.image(image.id).tags == image.tags
    assert remote(plain.reference("team/model:prod")) == pushed.reference.digest


def test_throw_away_tag_that_the_registry_cannot_remove_is_told(containerd_engine, plain, make_image, services, lines):
    Publisher(containerd_engine, services).push(push_request(make_image(), plain))
    assert any("could not remove the tag" in line and INCOMING in line for line in lines.lines)


def test_gate_switched_off_lets_the_oci_manifest_through(containerd_engine, plain, make_image, services):
    publisher = Publisher(containerd_engine, services)
    pushed = publisher.push(push_request(make_image(), plain, manifest_gate=False))
    stored = Registry(Keychain()).manifest(pushed.reference)
    assert not pushed.repaired
    assert stored.media_type == manifest.OCI_MANIFEST


def test_oci_manifest_that_already_stands_under_the_tag_is_repaired_there(
    containerd_engine, plain, make_image, services
):
    image = make_image()
    publisher = Publisher(containerd_engine, services)
    publisher.push(push_request(image, plain, manifest_gate=False))
    pushed = publisher.push(push_request(image, plain))
    assert (pushed.up_to_date, pushed.repaired) == (True, True)
    stored = Registry(Keychain()).manifest(plain.reference("team/model:1.0"))
    assert manifest.complaints(stored) == ()


def test_layers_that_sagemaker_cannot_take_never_reach_the_tag(plain, make_image, services):
    image = make_image()
    with ZstdEngine.connect() as engine:
        publisher = Publisher(engine, services)
        with pytest.raises(RegistryError, match="zstd") as caught:
            publisher.push(push_request(image, plain, aliases=("prod",)))
    assert "gzip" in caught.value.next_step
    assert [tag for tag in plain.tags("team/model") if not tag.startswith(INCOMING)] == []
    assert engine_names(image) == image.tags


def engine_names(image):
    with Engine.connect() as engine:
        return engine.image(image.id).tags


def test_push_refused_by_registry_leaves_no_name_anywhere(engine, tmp_path, make_image, publisher):
    image = make_image()
    with registry(tmp_path, Kind(readonly=True)) as readonly:
        with pytest.raises(RegistryError, match="could not push"):
            publisher.push(push_request(image, readonly))
        assert readonly.tags("team/model") == []
    assert engine.image(image.id).tags == image.tags


def test_image_without_a_name_is_refused_before_anything_is_sent(engine, plain, make_image, publisher):
    image = make_image()
    with pytest.raises(ConfigurationError, match="has no name"):
        publisher.push(push_request(replace(image, tags=()), plain))
    assert plain.writes() == 0


def test_ecr_destination_is_the_accounts_registry():
    name = ImageReference.parse("xgbpatch/sagemaker-xgboost:1.0")
    assert str(ecr_destination("123456789012", "cn-north-1", name)) == (
        "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/xgbpatch/sagemaker-xgboost:1.0"
    )


def test_missing_ecr_repository_is_created_before_the_push(aws, make_image, publisher):
    destination = ImageReference.parse("123456789012.dkr.ecr.eu-north-1.amazonaws.com/xgbpatch/new:1.0")
    with pytest.raises(RegistryError):  # moto keeps repositories, and no registry answers under this name
        publisher.push(PushRequest(make_image(), destination, options=RepositoryOptions(immutable_tags=True)))
    ecr = boto3.client("ecr", region_name="eu-north-1")
    repositories = ecr.describe_repositories(repositoryNames=["xgbpatch/new"])["repositories"]
    assert [repository["imageTagMutability"] for repository in repositories] == ["IMMUTABLE"]
