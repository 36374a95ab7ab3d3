"""Manifests as values: complaints, repair, selection."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgbpatch.errors import RegistryError
from xgbpatch.oci import manifest
from xgbpatch.oci.manifest import Manifest

DIGEST = "sha256:" + "a" * 64
digests = st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:{}".format)


def image(kind: str = "docker", layer_type: str = "", layers: tuple[str, ...] = (DIGEST,)) -> Manifest:
    manifest_type, config_type, usual = {
        "docker": (manifest.DOCKER_MANIFEST, manifest.DOCKER_CONFIG, manifest.DOCKER_LAYER),
        "oci": (manifest.OCI_MANIFEST, manifest.OCI_CONFIG, manifest.OCI_LAYER),
    }[kind]
    document = {
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": {"mediaType": config_type, "size": 7, "digest": DIGEST},
        "layers": [{"mediaType": layer_type or usual, "size": 9, "digest": digest} for digest in layers],
        "annotations": {"org.opencontainers.image.base.name": "somewhere"},
    }
    return Manifest(json.dumps(document).encode(), manifest_type)


def index(*platforms: tuple[str, str]) -> Manifest:
    entries = [
        {"mediaType": manifest.OCI_MANIFEST, "size": position, "digest": DIGEST,
         "platform": {"os": system, "architecture": architecture}}
        for position, (system, architecture) in enumerate(platforms)
    ]  # fmt: skip
    return Manifest(json.dumps({"schemaVersion": 2, "manifests": entries}).encode(), manifest.OCI_INDEX)


def test_docker_schema_2_draws_no_complaint():
    assert manifest.complaints(image("docker")) == ()


def test_oci_manifest_draws_a_complaint_for_manifest_config_and_layer():
    text = "\n".join(manifest.complaints(image("oci")))
    assert all(f"the {what} is" in text for what in ("manifest", "configuration", "layer"))


def test_docker_bytes_stored_as_oci_draw_a_complaint():
    complaints = manifest.complaints(Manifest(image("docker").content, manifest.OCI_MANIFEST))
    assert any("calls itself" in complaint for complaint in complaints)


def test_oci_manifest_without_its_optional_media_type_is_repaired():
    document = dict(image("oci").document)
    del document["mediaType"]
    bare = Manifest(json.dumps(document).encode(), manifest.OCI_MANIFEST)
    assert manifest.complaints(bare)
    assert manifest.complaints(manifest.repaired(bare)) == ()


def test_index_draws_one_complaint():
    assert "index" in manifest.complaints(index(("linux", "amd64")))[0]


@given(st.lists(digests, min_size=1, max_size=20))
def test_repair_keeps_every_digest_and_size_and_satisfies_the_gate(layers):
    broken = image("oci", layers=tuple(layers))
    fixed = manifest.repaired(broken)
    assert manifest.complaints(fixed) == ()
    assert [(layer.digest, layer.size) for layer in fixed.layers] == [(d, 9) for d in layers]
    assert (fixed.config.digest, fixed.config.size) == (broken.config.digest, broken.config.size)
    assert "annotations" not in fixed.document


def test_repair_of_a_repaired_manifest_changes_nothing():
    once = manifest.repaired(image("oci"))
    assert manifest.repaired(once) == once


@pytest.mark.parametrize(
    "layer_type",
    [
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ],
    ids=["zstd", "uncompressed", "foreign"],
)
def test_layers_that_are_not_gzip_cannot_be_repaired(layer_type):
    with pytest.raises(RegistryError, match=layer_type.replace("+", r"\+")):
        manifest.repaired(image("oci", layer_type))


def test_index_cannot_be_repaired():
    with pytest.raises(RegistryError, match="is an index"):
        manifest.repaired(index(("linux", "amd64")))


def test_select_finds_the_architecture():
    descriptor = manifest.select(index(("linux", "arm64"), ("linux", "amd64"), ("unknown", "unknown")), "amd64")
    assert descriptor.size == 1


def test_select_names_the_platforms_there_are():
    with pytest.raises(RegistryError, match="linux/arm64") as caught:
        manifest.select(index(("linux", "amd64"), ("windows", "amd64")), "arm64")
    assert "linux/amd64, windows/amd64" in caught.value.next_step


@pytest.mark.parametrize("content", [b"<html>", b"[]"], ids=["no JSON", "no object"])
def test_bytes_that_are_no_manifest_are_an_error(content):
    with pytest.raises(RegistryError, match="JSON"):
        manifest.complaints(Manifest(content, manifest.DOCKER_MANIFEST))


def test_descriptor_without_digest_is_an_error():
    broken = Manifest(b'{"config": {"mediaType": "x", "size": 1}}', manifest.DOCKER_MANIFEST)
    with pytest.raises(RegistryError, match="descriptor"):
        manifest.repaired(broken)
