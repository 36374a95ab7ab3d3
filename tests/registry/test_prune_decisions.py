"""Which images `prune` would delete: the verdicts on what a real registry holds, with nothing asked of AWS."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial

import pytest

from support.handmade import HandImage, forge, put, tar
from support.patched_images import MADE, also, depot_of_user, patched
from xgbpatch.aws.sagemaker import ResourceKind, Use
from xgbpatch.build import ownership
from xgbpatch.oci.manifest import OCI_INDEX, Manifest
from xgbpatch.publish.scan_gate import BASE_TAG
from xgbpatch.reference import ImageReference
from xgbpatch.upkeep import prune
from xgbpatch.upkeep.prune import Rules
from xgbpatch.upkeep.repository import ListedImage, RepositoryItem, TaggedRepository, list_repository

NEWEST = Rules(keep=1)
REGIONS = ("us-west-2", "eu-west-1")


@pytest.fixture
def services(tmp_path):
    return depot_of_user(tmp_path)


@pytest.fixture
def place(space):
    return space.reference("team/model")


@pytest.fixture
def judged(services, place):
    """`judged(rules, uses)` → the verdicts, by each tag."""

    def decide(rules=NEWEST, uses=()):
        items = list_repository(services.registry, TaggedRepository(services.registry, place))
        doubt = partial(ownership.doubt, services)
        verdicts = prune.decide(items, prune.in_use(place, items, uses), rules, doubt)
        return {tag: verdict for verdict in verdicts for tag in verdict.item.listed.tags}

    return decide


def test_newest_n_stay(services, place, judged):
    images = [patched(services, place) for _ in range(4)]
    decisions = judged(Rules(keep=3))
    assert [decisions[image.tag].deleted for image in images] == [True, False, False, False]
    assert decisions[images[1].tag].why == "among the newest 3"
    assert decisions[images[3].tag].why == "the newest of its image"


def test_image_that_is_not_old_enough_stays(services, place, judged):
    old, _ = patched(services, place, day=10), patched(services, place, day=20)
    assert not judged(Rules(1, before=datetime(2001, 1, 11, 10, tzinfo=timezone.utc)))[old.tag].deleted
    assert judged(Rules(1, before=datetime(2001, 1, 11, 11, tzinfo=timezone.utc)))[old.tag].deleted


def test_image_under_an_alias_stays(services, place, judged):
    aliases = ("prod", "prod.previous", "3.2-0", "v1")
    for alias in aliases:
        also(services, patched(services, place), alias)
    patched(services, place)
    decisions = judged()
    assert {alias: (decisions[alias].deleted, decisions[alias].why) for alias in aliases} == {
        alias: (False, f'alias "{alias}" names it') for alias in aliases
    }


def test_tag_of_an_unfinished_push_is_no_alias(services, place, judged):
    old, _ = patched(services, place), patched(services, place)
    also(services, old, "xgbpatch-incoming-0123456789ab")
    assert judged()[old.tag].deleted


@pytest.mark.parametrize(
    "changes",
    [{"image": "churn"}, {"version": "1.5-1"}, {"image": "default", "asked_digest": "sha256:" + "e" * 64}],
    ids=["another name", "another version", "no name, and asked otherwise"],
)
def test_another_image_supersedes_nothing(services, place, judged, changes):
    first = patched(services, place, **({"image": "default"} if changes.get("image") == "default" else {}))
    patched(services, place, **changes)
    assert judged()[first.tag].why == "the newest of its image"


def test_image_without_a_name_is_superseded_by_one_that_was_asked_for_alike(services, place, judged):
    alike = {"image": "default", "asked_digest": "sha256:" + "e" * 64}
    first, _ = patched(services, place, **alike), patched(services, place, **alike)
    assert judged()[first.tag].deleted


@pytest.mark.parametrize("created", ["", "yesterday", "2001-01-01T10:00:00"], ids=["none", "words", "no zone"])
def test_image_whose_moment_cannot_be_told_stays(services, place, judged, created):
    first = patched(services, place, created=created)
    patched(services, place)
    assert not judged()[first.tag].deleted


def test_images_of_the_same_moment_supersede_each_other_not(services, place, judged):
    images = [patched(services, place, day=1) for _ in range(2)]
    assert [judged()[image.tag].deleted for image in images] == [False, False]


def test_image_of_another_maker_stays(services, place, judged):
    put(services, place.with_tag("1.0"), HandImage([tar({"a": b"a"})]))
    patched(services, place)
    assert (judged()["1.0"].deleted, judged()["1.0"].why) == (False, "not made by xgbpatch")


def test_image_that_is_built_on_ours_goes_never_and_supersedes_nothing(services, place, judged):
    """It has all labels; the newest of ours would go, and the foreign one after it."""
    ours, template = patched(services, place), patched(services, place)
    foreign = forge(services, template, added=[tar({"etc/motd": b"evil"})])
    services.registry.delete(template.pinned)
    assert judged()[ours.tag].why == "the newest of its image"
    newest = patched(services, place)
    decisions = judged()
    assert (decisions[ours.tag].deleted, decisions[ours.tag].why) == (True, f'superseded by "{newest.tag}"')
    assert not decisions[foreign.tag].deleted
    assert decisions[foreign.tag].why.startswith("not proved to be what its labels say: ")


def test_image_whose_base_is_gone_stays(services, place, judged):
    first = patched(services, place, base_name=str(place.with_tag("gone")), base_digest="sha256:" + "e" * 64)
    patched(services, place)
    assert "is gone" in judged()[first.tag].why


def test_use_of_another_repository_protects_nothing_here(services, place, judged):
    old, _ = patched(services, place), patched(services, place)
    elsewhere = [replace(old, repository="team/other"), replace(old, host="registry.example.com")]
    assert judged(uses=[Use(ResourceKind.MODEL, "m", "us-west-2", tuple(elsewhere))])[old.tag].deleted
    assert not judged(uses=[Use(ResourceKind.MODEL, "m", "us-west-2", (old,))])[old.tag].deleted


@pytest.mark.parametrize("host", ["dkr-ecr", "dkr-ecr-fips"])
def test_dual_stack_host_names_the_same_repository(host):
    place = ImageReference.parse("123456789012.dkr.ecr.us-west-2.amazonaws.com/team/model")
    items = [RepositoryItem(ListedImage(MADE.base_digest, ("v1",)), Manifest(b"{}", OCI_INDEX), None)]
    names = [ImageReference.parse(f"123456789012.{host}.{region}.on.aws/team/model:v1") for region in REGIONS]
    near, far = (Use(ResourceKind.MODEL, "m", region, (name,)) for region, name in zip(REGIONS, names, strict=True))
    assert prune.in_use(place, items, [far]) == {}
    assert prune.in_use(place, items, [far, near]) == {MADE.base_digest: near}


def test_name_without_a_tag_uses_latest(services, place, judged):
    old, _ = patched(services, place), patched(services, place)
    also(services, old, "latest")
    used = judged(uses=[Use(ResourceKind.TRAINING, "t", "us-west-2", (ImageReference.parse(place.name),))])
    assert used[old.tag].why == 'used by training job "t" in us-west-2'


def test_cosigns_tag_belongs_to_its_image(services, place, judged):
    old, new = patched(services, place), patched(services, place)
    tags = {image.tag: image.digest.replace(":", "-") + ".sig" for image in (old, new)}
    for tag in tags.values():
        put(services, place.with_tag(tag), HandImage([tar({tag: b"s"})]))
    decisions = judged()
    assert (decisions[tags[old.tag]].deleted, decisions[tags[old.tag]].why) == (
        True,
        f'belongs to "{old.tag}", which goes',
    )
    assert not decisions[tags[new.tag]].deleted


def test_image_that_an_index_lists_stays(services, place, judged):
    old, _ = patched(services, place), patched(services, place)
    manifest = services.registry.manifest(old)
    entry = {"mediaType": manifest.media_type, "digest": old.digest, "size": len(manifest.content)}
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
    services.registry.put_manifest(place.with_tag("both"), Manifest(index, OCI_INDEX))
    decisions = judged()
    assert decisions[old.tag].why == 'part of the index "both"'
    assert not decisions["both"].deleted


def test_base_that_was_scanned_goes_with_the_last_image_on_it(services, place, judged):
    tags = []
    for content in (b"a", b"b"):
        base = HandImage([tar({"base": content})])
        digest = put(services, replace(place, repository="bases/of-two", tag="3.2-0"), base).digest
        tags.append(BASE_TAG + digest[7:19])
        put(services, place.with_tag(tags[-1]), base)
        name = str(replace(place, repository="bases/of-two"))
        patched(services, place, base=base, base_name=f"{name}:3.2-0", base_digest=digest)
    decisions = judged()
    assert decisions[tags[0]].why == "a base that no image stands on"
    assert [decisions[tag].deleted for tag in tags] == [True, False]


def test_freed_bytes_are_those_that_no_kept_image_shares(services, place, judged):
    old, _ = patched(services, place), patched(services, place)
    manifest = services.registry.manifest(old)
    assert prune.freed(list(judged().values())) == manifest.config.size + manifest.layers[1].size


def test_image_that_got_a_tag_since_it_was_judged_stays(services, place, judged):
    old, older, _ = patched(services, place, day=2), patched(services, place, day=1), patched(services, place, day=3)
    verdicts = list(judged().values())
    also(services, old, "prod")  # a rollback comes between
    outcomes = dict(prune.delete(TaggedRepository(services.registry, place), verdicts))
    assert outcomes == {old.digest: "its tags have changed meanwhile", older.digest: ""}
    assert services.registry.head(old.pinned) is not None
    assert services.registry.head(older.pinned) is None


@pytest.mark.parametrize(
    ("tag", "own"),
    [
        ("3.2-0-bbbbbbbbbbbb-cccccccc", True),
        ("3.2-0-bbbbbbbbbbbb-dddddddd", False),
        ("cccccccc", True),
        ("3.2-0", False),
    ],
    ids=["default pattern", "of another spec", "configured pattern", "pattern that names no single image"],
)  # fmt: skip
def test_version_tags_are_told_from_aliases(tag, own):
    origin = replace(MADE, spec_digest="sha256:" + "c" * 64)
    assert prune.is_version_tag(tag, origin, ("{spec}", "{version}")) is own
