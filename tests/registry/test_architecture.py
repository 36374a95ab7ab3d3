"""An image is for the architecture that was asked for, whatever a tag or a digest stands for."""

import json

import pytest

from support.handmade import put
from support.handmade_bases import HandBase
from support.rebasing import NEW, OLD
from xgbpatch.build.registry import RegistryBuilder
from xgbpatch.build.resolve import resolve
from xgbpatch.errors import BaseImageError
from xgbpatch.oci.manifest import DOCKER_INDEX, DOCKER_MANIFEST, Manifest
from xgbpatch.registry.client import load_image
from xgbpatch.spec import Architecture, Spec

ARM = HandBase(architecture="arm64")


@pytest.fixture
def index(repositories):
    """The base's name, pinned to an index of both."""
    entries = []
    for tag, base in (("amd64", OLD), ("arm64", ARM)):
        pushed = put(repositories.services, repositories.base.with_tag(tag), base.image)
        size = len(repositories.services.registry.manifest(pushed).content)
        entries.append({"mediaType": DOCKER_MANIFEST, "digest": pushed.digest, "size": size,
                        "platform": {"os": "linux", "architecture": tag}})  # fmt: skip
    document = {"schemaVersion": 2, "mediaType": DOCKER_INDEX, "manifests": entries}
    return repositories.services.registry.put_manifest(
        repositories.base, Manifest(json.dumps(document).encode(), DOCKER_INDEX)
    )


def spec_of(base, architecture):
    return Spec(version="3.2-0", region="", base_image=base, architecture=architecture, features=("shap",))


@pytest.mark.parametrize("architecture", Architecture)
def test_a_pinned_index_gives_the_image_of_the_architecture_and_its_own_digest(repositories, index, architecture):
    spec = spec_of(index, architecture)
    base = resolve(spec, repositories.services.registry)
    assert base.reference.digest != index.digest
    definition = RegistryBuilder(repositories.services).define(spec, base)
    image = (
        RegistryBuilder(repositories.services)
        .build(definition, repositories.images.with_tag(definition.reference.tag))
        .reference
    )
    assert load_image(repositories.services.registry, image).architecture == architecture.value


def test_a_base_of_another_architecture_is_refused(repositories):
    spec = spec_of(repositories.publish(OLD), Architecture.ARM64)
    with pytest.raises(BaseImageError, match='built for "amd64" and not for "arm64"') as refused:
        RegistryBuilder(repositories.services).define(spec, resolve(spec, repositories.services.registry))
    assert "--arch amd64" in refused.value.next_step


def test_an_image_is_not_put_onto_a_base_of_another_architecture(repositories):
    image = repositories.build(repositories.publish(OLD))
    repositories.publish(HandBase(patches=NEW.patches, architecture="arm64"))
    with pytest.raises(BaseImageError, match='built for "arm64" and not for "amd64"'):
        repositories.rebase(image, accept_drift=True)
    assert len(repositories.services.registry.tags(repositories.images)) == 1
