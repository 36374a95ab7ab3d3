"""A rebase, without an engine, of an image that the engine built."""

from __future__ import annotations

from dataclasses import replace

from support.bases import RUN_ID
from support.rebasing import NEW, OLD
from xgbpatch.build import dockerfile
from xgbpatch.progress import Silent
from xgbpatch.registry.client import load_image


def test_an_image_that_the_engine_built_is_moved_as_well(repositories, engine, everything):
    """Its layer is another blob than the registry builder's; all else of the result is the same."""
    base = repositories.publish(replace(OLD, patches=RUN_ID))  # an image of this run alone: the engine may serve others
    definition = repositories.defined(base, **everything)
    destination = repositories.images.with_tag(definition.reference.tag)
    pulled = engine.pull(base, None, Silent())
    try:
        with dockerfile.packed_context(dockerfile.of_definition(definition), definition.patch) as stream:
            built = engine.build(stream, "linux/amd64", Silent())
        engine.tag(built.id, destination)
        image = destination.with_digest(engine.push(destination, None, Silent()))
    finally:
        engine.remove(destination)
        engine.remove(base.pinned)
    assert engine.image(pulled.id) is None
    base = repositories.publish(NEW)
    moved = load_image(repositories.services.registry, repositories.rebase(image).reference)
    built = load_image(
        repositories.services.registry,
        repositories.build(base, replace(repositories.images, repository="built/image"), **everything),
    )
    assert (moved.environment, moved.labels) == (built.environment, built.labels)
    assert (moved.config["config"], moved.created) == (built.config["config"], built.created)
    assert (moved.layers[:-1], moved.diff_ids[:-1]) == (built.layers[:-1], built.diff_ids[:-1])
