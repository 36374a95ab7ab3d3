"""The registry's HTTP API on what the engine pushed, over TLS and with a password."""

from __future__ import annotations

import docker
import pytest

from support.registries import USER
from xgbpatch.errors import RegistryError
from xgbpatch.oci import manifest as oci_manifest
from xgbpatch.progress import Silent
from xgbpatch.registry.client import Registry


def known(reference):
    return USER


@pytest.fixture
def stored(guarded, engine, make_image):
    """An image that the engine pushed to the guarded registry."""
    image, reference = make_image({"made": "here"}), guarded.reference("a/b:1")
    engine.tag(image.id, reference)
    api = docker.APIClient()
    try:
        digest = engine.push(reference, USER, Silent())
    finally:
        engine.remove(reference)
        api.close()
    return image, reference.with_digest(digest)


def test_manifest_and_configuration_are_read_over_tls_with_a_password(trusted, stored):
    image, reference = stored
    registry = Registry(known)
    manifest = registry.manifest(reference.with_tag("1"))
    assert manifest.digest == reference.digest
    assert registry.manifest(reference) == manifest
    assert manifest.config.digest == image.id
    assert registry.config(reference, manifest)["config"]["Labels"] == {"made": "here"}
    head = registry.head(reference)
    assert (head.digest, head.media_type, head.size) == (
        reference.digest, oci_manifest.DOCKER_MANIFEST, len(manifest.content),
    )  # fmt: skip


def test_manifest_that_is_put_under_another_tag_is_the_same(trusted, stored):
    reference, registry = stored[1], Registry(known)
    manifest = registry.manifest(reference)
    assert registry.put_manifest(reference.with_tag("alias"), manifest).digest == reference.digest
    assert registry.head(reference.with_tag("alias")).digest == reference.digest


@pytest.mark.parametrize("name", ["a/b:absent", "absent:1"])
def test_what_is_not_there_is_none(trusted, stored, name):
    assert Registry(known).head(trusted.reference(name)) is None
    assert Registry(known).find(trusted.reference(name)) is None
    with pytest.raises(RegistryError, match="does not exist"):
        Registry(known).manifest(trusted.reference(name))
