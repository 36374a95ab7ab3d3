"""ECR's API and the registry under ECR's name hold the same images: what is put by one is read by the other."""

import io
import json
import secrets

import boto3
import pytest
import requests
from botocore.exceptions import ClientError

from support.sandbox.ecr_calls import MIB, code, digest_of, upload
from support.sandbox.tiny_images import credentials_of, tiny_image
from xgbpatch.errors import XgbpatchError
from xgbpatch.oci.manifest import DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST, Descriptor
from xgbpatch.progress import Silent
from xgbpatch.reference import ImageReference
from xgbpatch.registry import copy
from xgbpatch.registry.ecr import EcrAwareRegistry, blob_store_for
from xgbpatch.registry.keychain import Keychain


def manifest_of(config, *layers):
    entries = [{"mediaType": DOCKER_LAYER, "size": len(layer), "digest": digest_of(layer)} for layer in layers]
    entry = {"mediaType": DOCKER_CONFIG, "size": len(config), "digest": digest_of(config)}
    return json.dumps({"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": entry, "layers": entries})


def put(ecr, repository, tag, words=b"{}"):
    """An image of one configuration and no layer; returns its digest."""
    upload(ecr, repository, words)
    manifest = manifest_of(words)
    ecr.put_image(repositoryName=repository, imageManifest=manifest, imageTag=tag)
    return digest_of(manifest.encode())


def pushed(engine, registry, repository, tag, label="probe"):
    """The digest of an image that docker pushed."""
    reference = ImageReference(registry.host, repository, tag)
    with tiny_image(engine, reference, label):
        return engine.push(reference, credentials_of(registry), Silent())


def tags_by_digest(ecr, repository):
    images = ecr.describe_images(repositoryName=repository)["imageDetails"]
    return {one["imageDigest"]: sorted(one.get("imageTags", ())) for one in images}


def status_of(running, registry, path):
    answer = requests.get(
        f"https://{registry.host}/v2/{path}", auth=("AWS", registry.password), verify=running.authority, timeout=120,
        headers={"Accept": DOCKER_MANIFEST},
    )  # fmt: skip
    return answer.status_code


def test_image_that_docker_pushed_is_known_to_ecr(engine, ecr, own, repository):
    digest = pushed(engine, own, repository, "t1")
    assert tags_by_digest(ecr, repository) == {digest: ["t1"]}
    assert ecr.list_images(repositoryName=repository)["imageIds"] == [{"imageDigest": digest, "imageTag": "t1"}]
    (image,) = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": "t1"}])["images"]
    assert image["imageId"] == {"imageDigest": digest, "imageTag": "t1"}
    assert image["imageManifestMediaType"] == DOCKER_MANIFEST
    assert digest_of(image["imageManifest"].encode()) == digest


def test_tag_that_docker_moved_leaves_an_untagged_image(engine, ecr, own, repository):
    first = pushed(engine, own, repository, "t1", "one")
    assert tags_by_digest(ecr, repository) == {first: ["t1"]}
    second = pushed(engine, own, repository, "t1", "two")
    assert tags_by_digest(ecr, repository) == {first: [], second: ["t1"]}


def test_image_put_through_the_api_pulls(engine, ecr, own, repository):
    source = f"{repository}-source"
    ecr.create_repository(repositoryName=source)
    pushed(engine, own, source, "t1")
    (image,) = ecr.batch_get_image(repositoryName=source, imageIds=[{"imageTag": "t1"}])["images"]
    document = json.loads(image["imageManifest"])
    for entry in (document["config"], *document["layers"]):
        url = ecr.get_download_url_for_layer(repositoryName=source, layerDigest=entry["digest"])["downloadUrl"]
        assert upload(ecr, repository, requests.get(url, timeout=120).content) == entry["digest"]
    ecr.put_image(repositoryName=repository, imageManifest=image["imageManifest"], imageTag="copy")
    reference = ImageReference(own.host, repository, "copy")
    assert engine.pull(reference, credentials_of(own), Silent()).id == document["config"]["digest"]
    engine.remove(reference)


def test_our_own_transport_copies_an_image_from_aws_s_registry_and_reads_it_back(engine, running, ecr, own, repository):
    """What `--builder registry` does, with a layer of several parts."""
    base, content = running.registries[0], secrets.token_bytes(25 * MIB)
    pushed(engine, base, repository, "base")
    keychain = Keychain()
    registry = EcrAwareRegistry(keychain)
    blobs_of = blob_store_for(registry, keychain)
    source = ImageReference(base.host, repository, "base")
    target = ImageReference(own.host, repository, "copy")
    manifest = registry.manifest(source)
    moved = copy.copy(blobs_of(source), blobs_of(target), [manifest.config, *manifest.layers], Silent())
    assert moved.sent == moved.received == sum(blob.size for blob in (manifest.config, *manifest.layers))
    reference = registry.put_manifest(target, manifest)
    assert tags_by_digest(ecr, repository) == {manifest.digest: ["copy"]}
    assert engine.pull(reference, credentials_of(own), Silent()).id == manifest.config.digest
    engine.remove(reference.pinned)

    large = Descriptor(digest_of(content), DOCKER_LAYER, len(content))
    assert copy.put(blobs_of(target), io.BytesIO(content), large, Silent()).sent == len(content)
    with blobs_of(target).opened(large.digest, offset=24 * MIB) as pieces:
        assert b"".join(pieces) == content[24 * MIB :]


def test_manifest_of_a_missing_layer_is_refused(ecr, repository):
    upload(ecr, repository, b"{}")
    with pytest.raises(ClientError, match=digest_of(b"absent")) as raised:
        ecr.put_image(repositoryName=repository, imageManifest=manifest_of(b"{}", b"absent"), imageTag="t1")
    assert code(raised) == "LayersNotFoundException"
    assert tags_by_digest(ecr, repository) == {}


@pytest.mark.parametrize("setting", ["IMMUTABLE", "MUTABLE"])
def test_tag_is_put_on_another_image_where_the_repository_allows(ecr, repository, setting):
    ecr.put_image_tag_mutability(repositoryName=repository, imageTagMutability=setting)
    first = put(ecr, repository, "t1", b'{"a": 1}')
    if setting == "IMMUTABLE":
        with pytest.raises(ClientError) as raised:
            put(ecr, repository, "t1", b'{"a": 2}')
        assert code(raised) == "ImageTagAlreadyExistsException"
        assert tags_by_digest(ecr, repository) == {first: ["t1"]}
    else:
        second = put(ecr, repository, "t1", b'{"a": 2}')
        assert tags_by_digest(ecr, repository) == {first: [], second: ["t1"]}


def test_excluded_tag_of_an_immutable_repository_moves(ecr, repository):
    ecr.put_image_tag_mutability(
        repositoryName=repository, imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
        imageTagMutabilityExclusionFilters=[{"filterType": "WILDCARD", "filter": "prod*"}],
    )  # fmt: skip
    put(ecr, repository, "prod-eu", b'{"a": 1}')
    second = put(ecr, repository, "prod-eu", b'{"a": 2}')
    assert tags_by_digest(ecr, repository)[second] == ["prod-eu"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({}, "ImageAlreadyExistsException"), ({"imageDigest": digest_of(b"other")}, "ImageDigestDoesNotMatchException")],
    ids=["same", "other-digest"],
)
def test_image_that_is_there_already(ecr, repository, changes, expected):
    put(ecr, repository, "t1")
    with pytest.raises(ClientError) as raised:
        ecr.put_image(repositoryName=repository, imageManifest=manifest_of(b"{}"), imageTag="t1", **changes)
    assert code(raised) == expected


def test_image_without_a_tag_is_put_under_its_digest(running, ecr, own, repository):
    upload(ecr, repository, b"{}")
    manifest = manifest_of(b"{}")
    ecr.put_image(repositoryName=repository, imageManifest=manifest)
    digest = digest_of(manifest.encode())
    assert tags_by_digest(ecr, repository) == {digest: []}
    assert status_of(running, own, f"{repository}/manifests/{digest}") == 200


def test_deleted_tag_is_gone_from_the_registry_and_its_image_stays(running, engine, ecr, own, repository):
    digest = pushed(engine, own, repository, "t1")
    manifest = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": "t1"}])["images"][0]
    ecr.put_image(repositoryName=repository, imageManifest=manifest["imageManifest"], imageTag="t2")
    answer = ecr.batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": "t1"}, {"imageTag": "none"}])
    assert answer["imageIds"] == [{"imageDigest": digest, "imageTag": "t1"}]
    assert [one["failureCode"] for one in answer["failures"]] == ["ImageNotFound"]
    assert tags_by_digest(ecr, repository) == {digest: ["t2"]}
    assert status_of(running, own, f"{repository}/manifests/t1") == 404
    assert status_of(running, own, f"{repository}/manifests/t2") == 200


@pytest.mark.parametrize("by", ["imageDigest", "imageTag"])
def test_deleted_image_is_gone_from_the_registry(running, ecr, own, repository, by):
    digest, other = put(ecr, repository, "t1", b'{"a": 1}'), put(ecr, repository, "t2", b'{"a": 2}')
    ecr.batch_delete_image(repositoryName=repository, imageIds=[{by: {"imageDigest": digest, "imageTag": "t1"}[by]}])
    assert tags_by_digest(ecr, repository) == {other: ["t2"]}
    statuses = [status_of(running, own, f"{repository}/manifests/{name}") for name in ("t1", digest, "t2")]
    assert statuses == [404, 404, 200]


def test_repository_deleted_by_force_is_gone_from_the_registry(running, ecr, own, repository):
    put(ecr, repository, "t1")
    with pytest.raises(ClientError) as raised:
        ecr.delete_repository(repositoryName=repository)
    assert code(raised) == "RepositoryNotEmptyException"
    assert status_of(running, own, f"{repository}/manifests/t1") == 200
    ecr.delete_repository(repositoryName=repository, force=True)
    assert status_of(running, own, f"{repository}/manifests/t1") == 404


def test_image_is_scanned_on_push_where_the_repository_says_so(engine, ecr, own, repository):
    request = {"repositoryName": repository, "imageId": {"imageTag": "t1"}}
    pushed(engine, own, repository, "t1")
    assert ecr.start_image_scan(**request)["imageScanStatus"]["status"] == "IN_PROGRESS"
    assert ecr.describe_image_scan_findings(**request)["imageScanStatus"]["status"] == "COMPLETE"

    ecr.put_image_scanning_configuration(
        repositoryName=repository, imageScanningConfiguration={"scanOnPush": True}
    )  # fmt: skip
    pushed(engine, own, repository, "t2", "another")
    request["imageId"] = {"imageTag": "t2"}
    assert ecr.describe_image_scan_findings(**request)["imageScanStatus"]["status"] == "COMPLETE"
    with pytest.raises(ClientError) as raised:
        ecr.start_image_scan(**request)
    assert code(raised) == "LimitExceededException"


def test_base_of_another_account_is_read_and_not_written(engine, running, ecr):
    base = running.registries[0]
    digest = pushed(engine, base, "sagemaker-probe", "1.0")
    common = {"registryId": base.account, "repositoryName": "sagemaker-probe"}
    (image,) = ecr.batch_get_image(**common, imageIds=[{"imageTag": "1.0"}])["images"]
    assert (image["registryId"], image["imageId"]["imageDigest"]) == (base.account, digest)
    layer = json.loads(image["imageManifest"])["layers"][0]
    (there,) = ecr.batch_check_layer_availability(**common, layerDigests=[layer["digest"]])["layers"]
    assert there["layerSize"] == layer["size"]
    url = ecr.get_download_url_for_layer(**common, layerDigest=layer["digest"])["downloadUrl"]
    assert digest_of(requests.get(url, timeout=120).content) == layer["digest"]
    for write in (
        lambda: ecr.initiate_layer_upload(**common),
        lambda: ecr.batch_delete_image(**common, imageIds=[{"imageTag": "1.0"}]),
        lambda: ecr.describe_images(**common),
    ):
        with pytest.raises(ClientError) as raised:
            write()
        assert code(raised) == "AccessDeniedException"
    assert status_of(running, base, "sagemaker-probe/manifests/1.0") == 200


def test_repositories_of_two_regions_are_apart(running, ecr, own, repository):
    put(ecr, repository, "t1")
    other = running.registries[3]
    elsewhere = boto3.client("ecr", other.region)
    with pytest.raises(ClientError) as raised:
        elsewhere.describe_images(repositoryName=repository)
    assert code(raised) == "RepositoryNotFoundException"
    elsewhere.create_repository(repositoryName=repository)
    assert tags_by_digest(elsewhere, repository) == {}


@pytest.mark.parametrize(
    "ask",
    [
        lambda ecr: ecr.initiate_layer_upload(repositoryName="none"),
        lambda ecr: ecr.batch_get_image(repositoryName="none", imageIds=[{"imageTag": "t1"}]),
        lambda ecr: ecr.put_image(repositoryName="none", imageManifest=manifest_of(b"{}"), imageTag="t1"),
        lambda ecr: ecr.get_download_url_for_layer(repositoryName="none", layerDigest=digest_of(b"")),
        lambda ecr: ecr.batch_delete_image(repositoryName="none", imageIds=[{"imageTag": "t1"}]),
    ],
    ids=["upload", "get", "put", "download", "delete"],
)
def test_missing_repository_is_not_found(ecr, ask):
    with pytest.raises(ClientError) as raised:
        ask(ecr)
    assert code(raised) == "RepositoryNotFoundException"


def test_token_of_the_api_opens_the_registry(ecr, own):
    credentials = credentials_of(own)
    assert (credentials.username, credentials.password) == ("AWS", own.password)
    assert boto3.client("sagemaker", own.region).list_models()["Models"] == []


def test_image_deleted_by_the_api_does_not_pull(engine, ecr, own, repository):
    digest = pushed(engine, own, repository, "t1")
    ecr.batch_delete_image(repositoryName=repository, imageIds=[{"imageDigest": digest}])
    with pytest.raises(XgbpatchError, match="manifest unknown"):
        engine.pull(ImageReference(own.host, repository, "t1"), credentials_of(own), Silent())
