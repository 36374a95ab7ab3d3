"""Artifacts that point to an image: on a registry without the referrers API, and on one that has it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from support.handmade import HandImage, put, services_on, tar
from support.servers import Reply, scripted
from xgbpatch.errors import RegistryError
from xgbpatch.oci.manifest import OCI_INDEX, OCI_MANIFEST
from xgbpatch.reference import ImageReference
from xgbpatch.registry import referrers
from xgbpatch.registry.referrers import Artifact

REPORT = Artifact("application/vnd.example.report.v1+json", "application/json", b'{"passed": true}')
SUBJECT = "sha256:" + "a" * 64


@pytest.fixture
def services(tmp_path):
    return services_on(tmp_path / "cache")


def hello(registry, services):
    return put(services, registry.reference("a/b:1"), HandImage([tar({"etc/hello": b"hello"})]))


@pytest.fixture
def image(space, services):
    return hello(space, services)


def attach(services, image, artifact=REPORT):
    return referrers.attach(services.registry, services.blobs_of(image), image, artifact)


def test_an_attached_artifact_is_listed_by_its_kind_and_read_back(services, image):
    put_down = attach(services, image)
    attach(services, image, replace(REPORT, kind="application/vnd.example.other"))
    assert referrers.attached(services.registry, image, REPORT.kind) == (put_down,)
    assert referrers.read(services.registry, services.blobs_of(image), put_down) == REPORT.content
    assert referrers.attached(services.registry, image, "application/vnd.example.none") == ()


def test_the_artifact_is_an_oci_manifest_with_the_image_as_subject(services, image):
    manifest = services.registry.manifest(image.with_digest(attach(services, image).digest)).document
    assert (manifest["mediaType"], manifest["artifactType"]) == (OCI_MANIFEST, REPORT.kind)
    described = services.registry.head(image)
    assert manifest["subject"] == {
        "mediaType": described.media_type, "digest": image.digest, "size": described.size
    }  # fmt: skip
    assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    index = services.registry.manifest(image.with_tag(image.digest.replace(":", "-"))).document
    assert [entry["artifactType"] for entry in index["manifests"]] == [REPORT.kind]


def test_attaching_the_same_bytes_twice_writes_nothing_the_second_time(space, services, image):
    first = attach(services, image)
    writes = space.writes()
    assert attach(services, image) == first
    assert space.writes() == writes
    assert len(referrers.attached(services.registry, image, REPORT.kind)) == 1


def test_an_image_that_carries_nothing_lists_nothing(services, image):
    assert referrers.attached(services.registry, image, REPORT.kind) == ()


def test_nothing_is_attached_to_an_image_that_is_not_there(services, image):
    with pytest.raises(RegistryError, match="does not exist"):
        attach(services, image.with_digest(SUBJECT))


def test_a_list_that_another_client_overwrote_meanwhile_gets_the_artifact_again(services, image):
    """The other client had read the list before ours was in it, and puts its own over it."""
    other = attach(services, image, replace(REPORT, content=b"theirs"))
    theirs = services.registry.manifest(referrers.fallback(image))

    class Overtaken(type(services.registry)):
        overtakes = 1

        def put_manifest(self, reference, manifest):
            descriptor = super().put_manifest(reference, manifest)
            if manifest.media_type == OCI_INDEX and self.overtakes:
                self.overtakes -= 1
                super().put_manifest(reference, theirs)
            return descriptor

    registry = Overtaken(lambda reference: None)
    ours = referrers.attach(registry, services.blobs_of(image), image, REPORT)
    assert set(referrers.attached(services.registry, image, REPORT.kind)) == {other, ours}


def test_a_tag_that_is_no_list_is_not_overwritten(services, image):
    services.registry.put_manifest(referrers.fallback(image), services.registry.manifest(image))
    with pytest.raises(RegistryError, match="no list of what is attached"):
        attach(services, image)
    assert services.registry.head(referrers.fallback(image)).digest == image.digest


def page(*entries):
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()


def entry(character, kind=REPORT.kind):
    return {"mediaType": OCI_MANIFEST, "digest": "sha256:" + character * 64, "size": 7, "artifactType": kind}


def test_a_registry_with_the_referrers_api_is_asked_page_by_page(services):
    following = {"Link": f'</v2/a/b/referrers/{SUBJECT}?last=1>; rel="next"'}
    pages = Reply(200, page(entry("1"), entry("2", "other")), following), Reply(200, page(entry("3")))
    with scripted(*pages) as server:
        subject = ImageReference.parse(f"{server.host}/a/b@{SUBJECT}")
        artifacts = referrers.attached(services.registry, subject, REPORT.kind)
    assert [item.digest[-1] for item in artifacts] == ["1", "3"]


def test_a_registry_that_refuses_the_list_is_told(services):
    with scripted(Reply(403)) as server:
        subject = ImageReference.parse(f"{server.host}/a/b@{SUBJECT}")
        with pytest.raises(RegistryError, match="refused to list what is attached"):
            referrers.attached(services.registry, subject, REPORT.kind)


def test_wrong_bytes_of_an_artifact_are_refused(services, plain, tmp_path):
    image = hello(plain, services)
    artifact = attach(services, image)
    digest = services.registry.manifest(image.with_digest(artifact.digest)).layers[0].digest.removeprefix("sha256:")
    (data,) = (tmp_path / "blobs").rglob(f"{digest}/data")
    data.write_bytes(b'{"passed": True}')
    with pytest.raises(RegistryError, match="wrong bytes"):
        referrers.read(services.registry, services.blobs_of(image), artifact)
