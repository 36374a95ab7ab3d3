"""What `prune` does when others change the repository while it deletes, or when it is cut off: on real registries."""

from __future__ import annotations

from functools import partial

import pytest

from support.patched_images import also, depot_of_user, patched
from xgbpatch.build import ownership
from xgbpatch.reference import ImageReference
from xgbpatch.registry.referrers import Artifact, attach
from xgbpatch.upkeep import prune
from xgbpatch.upkeep.prune import Rules
from xgbpatch.upkeep.repository import list_repository, repository


@pytest.fixture
def services(ecr, tmp_path):
    return depot_of_user(tmp_path)


@pytest.fixture(params=["ECR", "any other registry"])
def somewhere(request, space, place):
    return place if request.param == "ECR" else space.reference("team/model")


class Interrupted:
    """A repository in which `happens` comes right before the deletion number `number`, and is seen by it too late."""

    def __init__(self, inner, number, happens):
        self.place, self.listed = inner.place, inner.listed
        self._inner, self._left, self._happens = inner, number, happens

    def delete(self, items):
        self._left -= 1
        if self._left == 0:
            self._happens()
        return self._inner.delete(items)


def family(services, place):
    """An image with an SBOM that is signed, and a newer one; what belongs to the first, and itself."""
    old, new = (patched(services, place, day=day) for day in (1, 2))
    sbom = _attached(services, old, "sbom")
    return old, new, (old, sbom, _attached(services, sbom, "signature"))


def _attached(services, subject, kind) -> ImageReference:
    artifact = Artifact(kind, "application/json", f'["{kind}"]'.encode())
    return subject.pinned.with_digest(attach(services.registry, services.blobs_of(subject), subject, artifact).digest)


def deleting(services, place, interrupted=lambda inner: inner):
    where = repository(services.registry, place)
    items = list_repository(services.registry, where)
    return prune.delete(interrupted(where), prune.decide(items, {}, Rules(1), partial(ownership.doubt, services)))


def standing(services, images):
    return [services.registry.head(image.pinned) is not None for image in images]


def test_image_goes_with_the_artifacts_of_its_artifacts(services, somewhere):
    _, new, belonging = family(services, somewhere)
    assert {why for _, why in deleting(services, somewhere)} == {""}
    assert standing(services, belonging) == [False, False, False]
    assert services.registry.tags(somewhere) == (new.tag,)


def test_image_that_got_a_tag_keeps_the_artifacts_of_its_artifacts(services, somewhere):
    old, _, belonging = family(services, somewhere)
    outcomes = deleting(services, somewhere)
    also(services, old, "prod")
    assert {why for _, why in outcomes} == {"its tags have changed meanwhile"}
    assert standing(services, belonging) == [True, True, True]


def test_image_that_gets_a_tag_while_its_artifacts_are_deleted_stays(services, somewhere):
    old, *_ = family(services, somewhere)
    outcomes = deleting(services, somewhere, lambda inner: Interrupted(inner, 1, lambda: also(services, old, "prod")))
    assert dict(outcomes)[old.digest] == "its tags have changed meanwhile"
    assert standing(services, [old.with_tag("prod").with_digest(old.digest)]) == [True]
    assert "prod" in services.registry.tags(somewhere)


def test_image_that_something_was_attached_to_meanwhile_stays(services, space):
    place = space.reference("team/model")
    old, _, belonging = family(services, place)
    outcomes = deleting(services, place)
    record = _attached(services, old, "record")  # its list has another digest now
    assert all(why for _, why in outcomes)
    assert standing(services, [*belonging, record]) == [True, True, True, True]


def test_ecr_image_that_gets_a_tag_in_the_moment_of_its_deletion_stays(services, place):
    old, _ = patched(services, place), patched(services, place)
    ((_, why),) = deleting(services, place, lambda inner: Interrupted(inner, 1, lambda: also(services, old, "prod")))
    assert why == "it got another tag meanwhile"
    assert services.registry.head(place.with_tag("prod")).digest == old.digest
    assert services.registry.head(place.with_tag(old.tag)) is None


def test_image_stays_when_what_belongs_to_it_cannot_be_deleted(services, somewhere):
    old, _, belonging = family(services, somewhere)

    class Refusing(Interrupted):
        def delete(self, items):
            return {item.digest: "no" for item in items}

    outcomes = list(deleting(services, somewhere, lambda inner: Refusing(inner, 0, None)))
    assert {why for _, why in outcomes} == {"no", "something that belongs to it could not be deleted"}
    assert outcomes[-1][0] == old.digest
    assert standing(services, belonging) == [True, True, True]


@pytest.mark.parametrize("steps", range(1, 5))
def test_run_that_was_cut_off_is_ended_by_the_next(services, somewhere, steps):
    _, new, belonging = family(services, somewhere)
    first = deleting(services, somewhere)
    for _ in range(steps):
        next(first)
    first.close()
    assert {why for _, why in deleting(services, somewhere)} == {""}
    assert standing(services, belonging) == [False, False, False]
    assert services.registry.tags(somewhere) == (new.tag,)
