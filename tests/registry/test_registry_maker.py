"""A rebuild moves the layer where that gives what a build of today would, and builds where it would not."""

from dataclasses import replace

import pytest

from support.package_index import index
from support.planning import FIXED
from xgbpatch.build.registry import RegistryBuilder
from xgbpatch.registry.client import load_image
from xgbpatch.upkeep.plan import State
from xgbpatch.upkeep.rebuild import make_in_registry


@pytest.fixture
def built(monkeypatch):
    """The names of the images that were built and not moved."""
    names, build = [], RegistryBuilder.build

    def recorded(builder, definition, name):
        names.append(name.tag)
        return build(builder, definition, name)

    monkeypatch.setattr(RegistryBuilder, "build", recorded)
    return names


def rebuilt(image_repository, spec=None):
    """What `rebuild` does about what `plan` says; after it, `plan` has nothing more to say."""
    plan = image_repository.plan(spec)
    assert plan.state is State.REBUILD
    image = make_in_registry(image_repository.services, plan, image_repository.place, accept_drift=False).reference
    assert image_repository.plan(spec).reasons == ()
    return load_image(image_repository.services.registry, image)


def test_a_base_that_moved_alone_moves_the_layer(image_repository, built):
    image_repository.publish()
    built.clear()
    base = image_repository.move(FIXED)
    assert rebuilt(image_repository).provenance.base_digest == base.digest
    assert built == []


def test_a_base_that_is_gone_leaves_the_build(image_repository, built):
    """As a mirror's lifecycle rule does it."""
    image_repository.publish()
    built.clear()
    old = image_repository.services.registry.head(image_repository.spec.base_image)
    base = image_repository.move(FIXED)
    assert image_repository.services.registry.delete(image_repository.spec.base_image.with_digest(old.digest))
    assert rebuilt(image_repository).provenance.base_digest == base.digest
    assert len(built) == 1


def test_a_package_that_became_newer_with_the_base_comes_at_once(image_repository, tmp_path, monkeypatch, built):
    spec = replace(image_repository.spec, packages=("six>=1.16",))
    monkeypatch.setenv("UV_NO_CACHE", "1")
    with index(tmp_path / "old", "six", "1.16.0") as address:
        monkeypatch.setenv("UV_DEFAULT_INDEX", address)
        image_repository.publish(spec)
    with index(tmp_path / "new", "six", "1.17.0") as address:
        monkeypatch.setenv("UV_DEFAULT_INDEX", address)
        image_repository.move(FIXED)
        assert rebuilt(image_repository, spec).provenance.packages == ("six==1.17.0",)


@pytest.mark.parametrize("change", [{"name": "risk"}, {"packages": ("six>=1.15",)}], ids=["renamed", "loosened"])
def test_a_change_that_gives_the_same_files_is_remembered_all_the_same(image_repository, tmp_path, monkeypatch, change):
    spec = replace(image_repository.spec, packages=("six>=1.16",))
    monkeypatch.setenv("UV_NO_CACHE", "1")
    with index(tmp_path / "index", "six", "1.17.0") as address:
        monkeypatch.setenv("UV_DEFAULT_INDEX", address)
        first = load_image(image_repository.services.registry, image_repository.publish(spec)).provenance
        origin = rebuilt(image_repository, replace(spec, **change)).provenance
    assert (origin.patch_digest, origin.base_digest) == (first.patch_digest, first.base_digest)
    assert origin.spec_digest != first.spec_digest
