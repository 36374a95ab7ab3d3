"""Blobs and manifests of ECR by its own calls, against moto's ECR behind a door that can go wrong."""

from __future__ import annotations

import io
import json
import random

import boto3
import pytest

from support.aws import ACCOUNT, REGION
from support.blobs import BIG, MIB, SMALL, blobs, content, descriptor, store
from support.moto_ecr import ecr_door
from support.servers import Reply, scripted
from xgbpatch.errors import AwsError, RegistryError
from xgbpatch.oci.manifest import DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST, Manifest
from xgbpatch.progress import Silent
from xgbpatch.reference import ImageReference
from xgbpatch.registry import copy
from xgbpatch.registry.blobs import HttpBlobs, Traffic
from xgbpatch.registry.ecr import EcrAwareRegistry, EcrBlobs, blob_store_for
from xgbpatch.registry.keychain import Keychain

PLACE = ImageReference.parse(f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/a/b:1")
PARTS = random.Random(6).randbytes(11 * MIB)  # three of them


@pytest.fixture
def door(aws, monkeypatch):
    with ecr_door(aws) as started:
        monkeypatch.setenv("AWS_ENDPOINT_URL", started.url)
        yield started


@pytest.fixture
def ecr(door):
    client = boto3.client("ecr", region_name=REGION)
    client.create_repository(repositoryName="a/b")
    door.calls.clear()
    return client


@pytest.fixture
def registry():
    return EcrAwareRegistry(Keychain())


@pytest.fixture
def target(registry):
    return blob_store_for(registry, Keychain())(PLACE)


def manifest(layer):
    config = {"mediaType": DOCKER_CONFIG, "size": len(SMALL), "digest": descriptor(SMALL).digest}
    document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": config,
        "layers": [{"mediaType": DOCKER_LAYER, "size": len(layer), "digest": descriptor(layer).digest}],
    }
    return Manifest(json.dumps(document).encode(), DOCKER_MANIFEST)


def sizes(ecr):
    """Of what ECR holds of our two blobs; moto hashes what it was sent."""
    digests = [descriptor(PARTS).digest, descriptor(SMALL).digest]
    answer = ecr.batch_check_layer_availability(repositoryName="a/b", layerDigests=digests)
    return sorted(layer["layerSize"] for layer in answer["layers"])


def test_image_goes_to_ecr_in_parts_and_its_manifest_with_its_type(client, plain, ecr, door, registry, target):
    descriptors = store(client, plain, PARTS, SMALL)
    moved = copy.copy(blobs(client, plain), target, descriptors, Silent())
    assert moved == Traffic(sent=len(PARTS) + len(SMALL), received=len(PARTS) + len(SMALL))
    assert sizes(ecr) == [len(SMALL), len(PARTS)]
    assert door.calls.count("UploadLayerPart") == 3 + 1
    assert copy.copy(blobs(client, plain), target, descriptors, Silent()) == Traffic(present=2)
    reference = registry.put_manifest(PLACE, manifest(PARTS))
    assert registry.put_manifest(PLACE, manifest(PARTS)) == reference
    (image,) = ecr.describe_images(repositoryName="a/b")["imageDetails"]
    assert (image["imageDigest"], image["imageTags"]) == (reference.digest, ["1"])
    assert image["imageManifestMediaType"] == DOCKER_MANIFEST


def test_manifest_without_a_tag_goes_to_ecr_under_its_digest(ecr, registry, target):
    small_manifest = manifest(SMALL)
    registry.put_manifest(PLACE.with_tag("").with_digest(small_manifest.digest), small_manifest)
    (image,) = ecr.describe_images(repositoryName="a/b")["imageDetails"]
    assert image["imageDigest"] == small_manifest.digest
    assert "imageTags" not in image


def test_part_whose_answer_is_lost_is_not_appended_twice(ecr, door, target):
    door.faults += [("UploadLayerPart", None)]
    copy.put(target, io.BytesIO(PARTS), descriptor(PARTS), Silent())
    assert sizes(ecr) == [len(PARTS)]
    assert door.calls.count("UploadLayerPart") == 3 + 1


def test_upload_that_ecr_forgot_is_begun_again(ecr, door, target, pauses):
    door.faults += [("UploadLayerPart", {"__type": "UploadNotFoundException", "message": "gone"})]
    copy.put(target, io.BytesIO(PARTS), descriptor(PARTS), Silent(), pauses.append)
    assert pauses == [0.5]
    assert sizes(ecr) == [len(PARTS)]
    assert door.calls.count("InitiateLayerUpload") == 2


def test_layer_that_somebody_else_finished_first_is_fine(ecr, door, target):
    door.faults += [("CompleteLayerUpload", {"__type": "LayerAlreadyExistsException", "message": "there"})]
    assert copy.put(target, io.BytesIO(SMALL), descriptor(SMALL), Silent()).sent == len(SMALL)


def test_completion_whose_answer_is_lost_is_found_done(ecr, door, target):
    door.faults += [("CompleteLayerUpload", None)]
    copy.put(target, io.BytesIO(SMALL), descriptor(SMALL), Silent())
    assert sizes(ecr) == [len(SMALL)]
    assert door.calls.count("InitiateLayerUpload") == 1


def test_refusal_of_ecr_names_the_action_and_the_repository(door, target):
    with pytest.raises(AwsError, match="RepositoryNotFoundException") as caught:
        copy.put(target, io.BytesIO(SMALL), descriptor(SMALL), Silent())
    assert "ecr:BatchCheckLayerAvailability" in caught.value.message
    assert PLACE.name in caught.value.message


def test_immutable_tag_that_is_taken_is_told_apart(ecr, door, registry):
    door.faults += [("PutImage", {"__type": "ImageTagAlreadyExistsException", "message": "immutable"})]
    with pytest.raises(RegistryError, match="immutable") as caught:
        registry.put_manifest(PLACE, manifest(SMALL))
    assert f"{PLACE.name}:1" in caught.value.message


def test_layer_of_ecr_that_is_cut_goes_on_by_a_new_address(ecr, door, target, client, plain):
    layer = descriptor(BIG)
    door.layers[layer.digest] = BIG
    door.cuts += [5 * MIB]
    assert copy.copy(target, blobs(client, plain), [layer], Silent()).received == len(BIG)
    assert content(client, plain, layer) == BIG
    assert door.downloads == [("1", ""), ("2", f"bytes={5 * MIB}-")]


def test_layer_that_ecr_does_not_give_is_an_error_that_keeps_the_address_secret(ecr, door, target):
    with pytest.raises(RegistryError, match="403") as caught, target.opened("sha256:" + "1" * 64) as pieces:
        next(pieces)
    assert "Signature" not in caught.value.message


def test_mount_into_ecr_is_tried_within_one_registry_and_never_an_error(client, plain, pauses):
    (blob,) = store(client, plain, SMALL)
    assert EcrBlobs(plain.reference("c/d"), None, client.session).mount(blob.digest, plain.reference("a/b"))
    with scripted(Reply(500)) as server:
        here = ImageReference.parse(f"{server.host}/a/b")
        assert not EcrBlobs(here, None, client.session).mount(blob.digest, here)
    assert not EcrBlobs(PLACE, None, client.session).mount(blob.digest, plain.reference("a/b"))


def test_host_that_only_looks_like_ecr_is_spoken_to_by_http(aws, registry):
    keychain = Keychain()
    doors = blob_store_for(registry, keychain)
    assert isinstance(doors(PLACE), EcrBlobs)
    lookalike = ImageReference.parse(f"{ACCOUNT}.dkr.ecr.{REGION}.example.com/a/b")
    assert isinstance(doors(lookalike), HttpBlobs)
    assert isinstance(doors(ImageReference.parse("127.0.0.1:5000/a/b")), HttpBlobs)
