"""Which image of a repository is the newest of a spec, asked with few requests."""

import itertools
from dataclasses import replace

import pytest

from support import handmade
from xgbpatch import provenance
from xgbpatch.build.definition import asked_digest
from xgbpatch.build.resolve import Base
from xgbpatch.oci.manifest import DOCKER_INDEX, Manifest
from xgbpatch.patch.compose import overlay_digest
from xgbpatch.provenance import Provenance
from xgbpatch.publish import aliases
from xgbpatch.reference import ImageReference
from xgbpatch.spec import Architecture, Spec
from xgbpatch.upkeep import published

OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
SPEC = Spec("3.2-0", "us-west-2", "fraud", features=("shap",), repository="ml/fraud")
NUMBERS = itertools.count()


class Repositories:
    """A repository of its own on the registry."""

    def __init__(self, loopback, services):
        self.loopback = loopback
        self.services = services
        self.place = loopback.reference(f"ml/fraud-{next(NUMBERS)}")

    def withdrawn(self, alias):
        """What the last rollback took the alias away from."""
        return aliases.withdrawn_digest(self.services.registry, self.place.with_tag(alias))

    def put(self, tag, aliases=(), **changes):
        """An image of a spec on a base, by its labels alone."""
        origin = replace(MADE, **changes)
        image = handmade.HandImage([handmade.tar({})], labels=provenance.write(origin), created=origin.created)
        for name in (tag, *aliases):
            reference = handmade.put(self.services, self.place.with_tag(name), image)
        return reference.digest

    def newest(self, spec=SPEC, base=NEW):
        newest = published.newest(self.services.registry, self.place, spec, on(base))
        return newest and newest.manifest.digest

    def requests(self):
        text = self.loopback.log.read_text()
        return sum(f'"{verb} /v2/{self.place.repository}/' in line for line in text.splitlines()
                   for verb in ("GET", "HEAD", "PUT", "POST"))  # fmt: skip


MADE = Provenance(
    "registry.example.com/base:3.2-0", NEW, "3.2-0", "0.1.0", "sha256:1", "sha256:2", f"sha256:{overlay_digest()}",
    ("shap",), (), (), "2026-11-01T00:00:00Z", "fraud", asked_digest(SPEC), "sha256:3",
)  # fmt: skip


def on(digest):
    reference = ImageReference.parse(f"registry.example.com/base:3.2-0@{digest}")
    return Base(reference, "3.2-0", Architecture.AMD64)


def tag_of(digest, spec="12345678", version="3.2-0"):
    return f"{version}-{digest[7:19]}-{spec}"


@pytest.fixture
def repositories(loopback, tmp_path):
    return Repositories(loopback, handmade.services_on(tmp_path))


def test_a_repository_that_does_not_exist_holds_none(repositories):
    assert repositories.newest() is None


def test_the_latest_created_wins(repositories):
    repositories.put(tag_of(OLD, "11111111"), base_digest=OLD, created="2026-11-02T00:00:00Z")
    latest = repositories.put(tag_of(OLD, "00000000"), base_digest=OLD, created="2026-11-03T00:00:00Z")
    repositories.put(tag_of(OLD, "22222222"), base_digest=OLD, created="2026-11-01T00:00:00Z")
    assert repositories.newest() == latest


def test_images_of_other_specs_do_not_count(repositories):
    own = repositories.put(tag_of(NEW, "11111111"))
    repositories.put(tag_of(NEW, "22222222"), image="churn", created="2026-11-09T00:00:00Z")
    assert repositories.newest() == own
    assert repositories.newest(replace(SPEC, name="other")) is None


def test_an_image_on_the_present_base_wins_over_a_later_one_on_another(repositories):
    own = repositories.put(tag_of(NEW))
    repositories.put(tag_of(OLD), base_digest=OLD, created="2026-11-09T00:00:00Z")
    assert repositories.newest() == own


def test_what_a_build_of_today_would_give_wins_over_a_later_one(repositories):
    own = repositories.put(tag_of(NEW, "11111111"))
    repositories.put(tag_of(NEW, "22222222"), asked_digest="sha256:other", created="2026-11-09T00:00:00Z")
    assert repositories.newest() == own


def test_of_images_made_at_one_moment_that_with_the_higher_packages_wins(repositories):
    """The registry's builder gives every image of one base the moment of that base."""
    repositories.put(tag_of(NEW, "22222222"), packages=("category-encoders==2.6.9", "patsy==1.0.1"))
    higher = repositories.put(tag_of(NEW, "11111111"), packages=("category-encoders==2.10.0", "patsy==1.0.1"))
    assert repositories.newest() == higher


def test_an_image_of_another_version_is_found_where_there_is_no_other(repositories):
    own = repositories.put(tag_of(OLD, version="3.0-5"), base_digest=OLD, version="3.0-5")
    assert repositories.newest() == own


def test_an_image_from_before_there_were_names_counts_only_where_none_has_one(repositories):
    nameless = repositories.put(tag_of(OLD, "11111111"), base_digest=OLD, image="", created="2026-11-09T00:00:00Z")
    assert repositories.newest() == nameless
    named = repositories.put(tag_of(OLD, "22222222"), base_digest=OLD)
    assert repositories.newest() == named


def test_an_image_that_only_an_alias_names_is_found(repositories):
    own = repositories.put("prod", base_digest=OLD)
    assert repositories.newest() is None
    assert repositories.newest(replace(SPEC, aliases=("prod",))) == own


def test_a_version_tag_says_more_than_an_alias(repositories):
    tag = tag_of(OLD)
    repositories.put(tag, aliases=["prod"], base_digest=OLD)
    newest = published.newest(
        repositories.services.registry, repositories.place, replace(SPEC, aliases=("prod",)), on(NEW)
    )
    assert newest.reference.tag == tag


def test_tags_of_another_pattern_are_not_read(repositories):
    repositories.put("something-else")
    own = repositories.put("fraud-3.2-0")
    before = repositories.requests()
    assert repositories.newest(replace(SPEC, tag="fraud-{version}")) == own
    assert repositories.requests() - before == 3


def test_an_index_and_what_is_no_image_are_passed_over(repositories):
    own = repositories.put(tag_of(NEW))
    index = Manifest(b'{"schemaVersion": 2, "mediaType": "%s", "manifests": []}' % DOCKER_INDEX.encode(), DOCKER_INDEX)
    repositories.services.registry.put_manifest(repositories.place.with_tag(tag_of(NEW, "99999999")), index)
    repositories.services.registry.put_manifest(
        repositories.place.with_tag(tag_of(NEW, "88888888")), artifact(repositories, own)
    )
    assert repositories.newest() == own


def artifact(repositories, digest):
    manifest = repositories.services.registry.manifest(repositories.place.with_digest(digest))
    other = manifest.content.replace(b"application/vnd.docker.container.image.v1+json", b"application/octet-stream")
    return Manifest(other, manifest.media_type)


def test_aliases_that_name_what_would_be_built_end_the_search(repositories):
    own = repositories.put(tag_of(NEW), aliases=["prod", "latest-patched"])
    before = repositories.requests()
    assert repositories.newest(replace(SPEC, aliases=("prod", "latest-patched"))) == own
    assert repositories.requests() - before == 6


def forward(repositories, digest):
    aliases.promote_alias(repositories.services, repositories.place.with_digest(digest), "prod")


PROD = replace(SPEC, aliases=("prod",))


@pytest.fixture
def rolled_back(repositories):
    """Digests by age, of images that differ in their packages alone; `prod` went to the second, and back."""
    digests = [repositories.put(tag_of(NEW, f"{number}" * 8), packages=(f"six==1.{number}",)) for number in (1, 2)]
    for digest in digests:
        forward(repositories, digest)
    aliases.rollback_alias(repositories.services, repositories.place, "prod")
    return digests


def test_after_a_rollback_the_newest_is_what_the_alias_was_taken_away_from(repositories, rolled_back):
    """A rebuild would else find newer packages, make that image, and move the alias to it again."""
    assert repositories.newest(PROD) == rolled_back[1]
    image = published.newest(repositories.services.registry, repositories.place, PROD, on(NEW))
    assert repositories.withdrawn("prod") == image.manifest.digest


def test_what_only_the_memory_of_the_alias_names_is_found_too(repositories, rolled_back):
    assert repositories.newest(replace(PROD, tag="fraud-{version}")) == rolled_back[1]


def test_a_second_rollback_goes_forward_to_the_newest_again(repositories, rolled_back):
    aliases.rollback_alias(repositories.services, repositories.place, "prod")
    image = published.newest(repositories.services.registry, repositories.place, PROD, on(NEW))
    assert image.manifest.digest == rolled_back[1]
    assert published.stragglers(repositories.services.registry, repositories.place, PROD, image) == ()


def test_what_was_withdrawn_counts_no_longer_once_the_alias_has_moved_forward(repositories, rolled_back):
    third = repositories.put(tag_of(NEW, "33333333"), asked_digest="sha256:other")
    forward(repositories, third)
    image = published.newest(repositories.services.registry, repositories.place, PROD, on(NEW))
    assert image.manifest.digest == rolled_back[1]  # the spec went back to that
    assert published.stragglers(repositories.services.registry, repositories.place, PROD, image) == ("prod",)
    assert repositories.withdrawn("prod") != image.manifest.digest


def test_a_hundred_tags_cost_two_requests_for_each_that_may_be_it(repositories):
    for number in range(99):
        repositories.put(
            f"3.2-0-{number:012x}-12345678", base_digest=OLD, created=f"2026-10-{number % 28 + 1:02}T00:00:00Z"
        )
    own = repositories.put(tag_of(NEW))
    before = repositories.requests()
    assert repositories.newest() == own
    assert repositories.requests() - before == 3
    before = repositories.requests()
    assert repositories.newest(base="sha256:" + "c" * 64) == own  # no tag tells of that base: all are read
    assert repositories.requests() - before <= 1 + 2 * 100


def test_aliases_that_lag_behind_are_told(repositories):
    old = repositories.put(tag_of(OLD), aliases=["prod"], base_digest=OLD)
    repositories.put(tag_of(NEW), aliases=["latest-patched"])
    spec = replace(SPEC, aliases=("prod", "latest-patched", "never"))
    image = published.newest(repositories.services.registry, repositories.place, spec, on(NEW))
    assert old != image.manifest.digest
    assert published.stragglers(repositories.services.registry, repositories.place, spec, image) == ("prod", "never")
