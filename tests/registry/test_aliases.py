"""Aliases move to what was tested, remember where they were, and survive being cut off. On a real registry."""

from __future__ import annotations

import contextlib
import json
import secrets
from datetime import datetime, timezone

import pytest

from support.commands import completed_in_process, xgbpatch
from support.handmade import HandImage, put, services_on, tar
from xgbpatch import provenance
from xgbpatch.contract.model import CheckResult, Report, Verdict
from xgbpatch.errors import ConfigurationError, ContractError, RegistryError
from xgbpatch.publish import aliases, test_record
from xgbpatch.publish.aliases import Tester
from xgbpatch.registry import referrers
from xgbpatch.registry.client import Registry
from xgbpatch.registry.referrers import Artifact

NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)


@pytest.fixture
def services(tmp_path):
    return services_on(tmp_path / "cache")


@pytest.fixture
def images(loopback, services):
    """Three small images under version tags."""
    hand_images = [HandImage([tar({"etc/name": name.encode()})]) for name in ("one", "two", "three")]
    repository = f"a/{secrets.token_hex(4)}"
    return [
        put(services, loopback.reference(f"{repository}:{number}"), image)
        for number, image in enumerate(hand_images, 1)
    ]


def report(image, **verdicts):
    results = tuple(CheckResult(name, Verdict(verdict), "", 0.1) for name, verdict in verdicts.items())
    return Report(str(image), results or (CheckResult("serve.ping", Verdict.PASSED, "200", 0.1),))


def give_record(services, image):
    return test_record.record(services, image, report(image), NOON)


class Examined(list):
    """Images that an tester was given."""

    def tester(self, **verdicts):
        def try_out(image):
            self.append(image.digest)
            return report(image, **verdicts)

        return Tester(try_out, NOON)


NOBODY = Tester(lambda image: pytest.fail("there is a record: nothing has to be tested"), NOON)


def names(services, image):
    """tag → the digest's place in `images`, for all tags but the referrers'."""
    tags = services.registry.tags(image)
    return {tag: services.registry.head(image.with_tag(tag)).digest for tag in tags if not tag.startswith("sha256-")}


def test_an_image_with_a_record_is_promoted_without_being_tested_again(services, images):
    give_record(services, images[0])
    promoted = aliases.promote(services, images[0], ["prod", "staging"], NOBODY)
    assert [(moved.alias.tag, moved.before) for moved in promoted.moved] == [("prod", ""), ("staging", "")]
    tags = names(services, images[0])
    assert tags["prod"] == tags["staging"] == images[0].digest
    assert "prod.previous" not in tags


def test_an_image_without_a_record_is_tested_first_and_gets_one(services, images):
    examined = Examined()
    assert aliases.promote(services, images[0], ["prod"], examined.tester()).tested_now
    aliases.promote(services, images[0], ["other"], examined.tester())
    assert examined == [images[0].digest]
    record = test_record.latest_pass(services, images[0])
    assert (record.digest, record.date) == (images[0].digest, "2026-11-21T12:00:00Z")
    assert record.verdicts == {"serve.ping": Verdict.PASSED}


def test_an_image_that_fails_leaves_the_alias_where_it_is_and_gets_no_record(services, images):
    give_record(services, images[0])
    aliases.promote(services, images[0], ["prod"], NOBODY)
    with pytest.raises(ContractError, match=r"fails 1 of 2 checks: serve\.csv"):
        aliases.promote(services, images[1], ["prod"], Examined().tester(**{"a.b": "passed", "serve.csv": "failed"}))
    tags = names(services, images[0])
    assert tags["prod"] == images[0].digest
    assert "prod.previous" not in tags
    assert test_record.latest_pass(services, images[1]) is None


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"no json", id="not JSON"),
        pytest.param(b'{"passed": true}', id="not a report"),
        pytest.param({"checks": {"serve.ping": "passed"}, "image": "sha256:" + "0" * 64}, id="of another image"),
        pytest.param({"checks": {"serve.ping": "failed"}, "passed": True}, id="of a failure"),
        pytest.param({"checks": {"shap": "skipped"}}, id="of nothing checked"),
        pytest.param({"checks": {}}, id="of no checks"),
    ],
)
def test_what_is_attached_and_proves_nothing_counts_for_nothing(services, images, content):
    if isinstance(content, dict):
        content = json.dumps({"image": images[0].digest, "xgbpatch": "1", "date": "2026", **content}).encode()
    artifact = Artifact(test_record.TEST_REPORT, test_record.TEST_REPORT, content)
    referrers.attach(services.registry, services.blobs_of(images[0]), images[0], artifact)
    assert test_record.latest_pass(services, images[0]) is None


def test_an_alias_that_moves_remembers_where_it_was_and_a_rollback_swaps_the_two(services, images):
    one, two, _ = images
    for image in (one, two):
        give_record(services, image)
        aliases.promote(services, image, ["prod"], NOBODY)
    assert names(services, one) | {"1": "", "2": "", "3": ""} == {
        "prod": two.digest, "prod.previous": one.digest, "1": "", "2": "", "3": ""
    }  # fmt: skip
    moved = aliases.rollback(services, one, "prod")
    assert (moved.alias.digest, moved.before) == (one.digest, two.digest)
    tags = names(services, one)
    assert (tags["prod"], tags["prod.previous"], tags["prod.withdrawn"]) == (one.digest, two.digest, two.digest)
    assert aliases.rollback(services, one, "prod").alias.digest == two.digest


def test_promoting_what_the_alias_names_already_changes_nothing(loopback, services, images):
    one, two, _ = images
    for image in (one, two):
        give_record(services, image)
        aliases.promote(services, image, ["prod"], NOBODY)
    writes = loopback.writes()
    assert aliases.promote(services, two, ["prod"], NOBODY).moved[0].up_to_date
    assert loopback.writes() == writes
    assert names(services, one)["prod.previous"] == one.digest


def test_a_rollback_to_a_digest_goes_to_a_tested_image_only(services, images):
    one, two, three = images
    for image in (one, two):
        give_record(services, image)
        aliases.promote(services, image, ["prod"], NOBODY)
    with pytest.raises(ContractError, match="never promoted or tested"):
        aliases.rollback(services, one, "prod", three.digest)
    assert names(services, one)["prod"] == two.digest
    give_record(services, three)
    assert aliases.rollback(services, one, "prod", three.digest).before == two.digest
    tags = names(services, one)
    assert (tags["prod"], tags["prod.previous"]) == (three.digest, two.digest)


def test_the_previous_target_needs_no_record_to_be_named(services, images):
    """It may have been an alias that `push` moved, before anything was promoted."""
    services.registry.put_manifest(images[0].with_tag("prod"), services.registry.manifest(images[0]))
    give_record(services, images[1])
    aliases.promote(services, images[1], ["prod"], NOBODY)
    assert aliases.rollback(services, images[0], "prod", images[0].digest).alias.digest == images[0].digest


def test_a_rollback_without_a_previous_target_says_so(services, images):
    give_record(services, images[0])
    aliases.promote(services, images[0], ["prod"], NOBODY)
    with pytest.raises(RegistryError, match="no previous target"):
        aliases.rollback(services, images[0], "prod")


class CutOff(Registry):
    """A registry that accepts so many manifests and then is gone."""

    def __init__(self, accepted):
        super().__init__(lambda reference: None)
        self.accepted = accepted

    def put_manifest(self, reference, manifest):
        if not self.accepted:
            raise KeyboardInterrupt
        self.accepted -= 1
        return super().put_manifest(reference, manifest)


@pytest.mark.parametrize("accepted", [0, 1])
def test_a_promotion_that_is_cut_off_loses_neither_image_and_can_be_ended(services, images, tmp_path, accepted):
    one, two, _ = images
    give_record(services, one), give_record(services, two)
    aliases.promote(services, one, ["prod"], NOBODY)
    with pytest.raises(KeyboardInterrupt):
        aliases.promote(services_on(tmp_path, CutOff(accepted)), two, ["prod"], NOBODY)
    assert names(services, one)["prod"] == one.digest
    aliases.promote(services, two, ["prod"], NOBODY)
    tags = names(services, one)
    assert (tags["prod"], tags["prod.previous"]) == (two.digest, one.digest)


@pytest.mark.parametrize("accepted", [0, 1, 2])
def test_a_rollback_that_is_cut_off_leaves_a_name_on_both_images(services, images, tmp_path, accepted):
    one, two, _ = images
    for image in (one, two):
        give_record(services, image)
        aliases.promote(services, image, ["prod"], NOBODY)
    with pytest.raises(KeyboardInterrupt):
        aliases.rollback(services_on(tmp_path, CutOff(accepted)), one, "prod")
    tags = names(services, one)
    assert {tags[tag] for tag in tags if tag.startswith("prod")} == {one.digest, two.digest}
    assert tags["prod"] == (two if accepted < 2 else one).digest
    if accepted < 2:
        assert aliases.rollback(services, one, "prod").alias.digest == one.digest
    else:
        with pytest.raises(RegistryError) as refused:
            aliases.rollback(services, one, "prod")
        assert two.digest in refused.value.next_step


@pytest.mark.parametrize("accepted", [0, 1, 2, 3])
def test_an_image_counts_as_withdrawn_as_soon_as_the_alias_has_left_it(services, images, tmp_path, accepted):
    one, two, _ = images
    for image in (one, two):
        aliases.promote_alias(services, image, "prod")
    with contextlib.suppress(KeyboardInterrupt):
        aliases.rollback_alias(services_on(tmp_path, CutOff(accepted)), one, "prod")
    assert aliases.withdrawn_digest(services.registry, one.with_tag("prod")) == (two.digest if accepted >= 2 else "")


@pytest.mark.parametrize("forward", ["to another", "to the withdrawn", "by a second rollback"])
def test_an_image_is_no_longer_withdrawn_once_the_alias_has_moved_forward(services, images, forward):
    one, two, three = images
    for image in (one, two):
        aliases.promote_alias(services, image, "prod")
    aliases.rollback_alias(services, one, "prod")
    if forward == "by a second rollback":
        aliases.rollback_alias(services, one, "prod")
    else:
        aliases.promote_alias(services, three if forward == "to another" else two, "prod")
    now = one.digest if forward == "by a second rollback" else ""
    assert aliases.withdrawn_digest(services.registry, one.with_tag("prod")) == now


def test_an_alias_that_the_registry_refuses_to_move_stays(services, images, tmp_path):
    """Distribution has no immutable tags; ECR refuses with these words."""

    class Immutable(Registry):
        def put_manifest(self, reference, manifest):
            if self.head(reference) is not None:
                raise RegistryError("HTTP 400: TAG_INVALID: it cannot be overwritten: the repository is immutable")
            return super().put_manifest(reference, manifest)

    one, two, _ = images
    give_record(services, one), give_record(services, two)
    aliases.promote(services, one, ["prod"], NOBODY)
    with pytest.raises(RegistryError, match="its repository has immutable tags"):
        aliases.promote(services_on(tmp_path, Immutable(lambda reference: None)), two, ["prod"], NOBODY)
    assert names(services, one)["prod"] == one.digest


@pytest.mark.parametrize("name", ["prod.previous", "prod.withdrawn", "not a tag", "x" * 125])
def test_a_name_that_no_alias_can_have_is_refused_before_anything_is_tested(services, images, name):
    with pytest.raises(ConfigurationError):
        aliases.promote(services, images[0], [name], NOBODY)


def test_a_version_tag_never_moves(services, images):
    base = "sha256:" + "ab" * 32
    labels = {provenance.SPEC_DIGEST: "sha256:1", provenance.BASE_DIGEST: base}
    tag = "3.2-0-abababababab-01234567"
    published = put(services, images[0].with_tag(tag), HandImage([tar({"x": b"y"})], labels=labels))
    give_record(services, images[0])
    with pytest.raises(ConfigurationError, match="version tag"):
        aliases.promote(services, images[0], [tag], NOBODY)
    with pytest.raises(ConfigurationError, match="version tag"):
        aliases.rollback(services, images[0], tag, images[0].digest)
    assert {name: digest for name, digest in names(services, published).items() if tag in name} == {
        tag: published.digest
    }


def test_the_commands_promote_and_roll_back(services, images):
    one, two, _ = images
    give_record(services, one), give_record(services, two)
    first = xgbpatch("promote", f"{one.name}:1", "--alias", "prod")
    assert (first.returncode, first.stdout) == (0, f"{one.pinned}\n"), first.stderr
    second = completed_in_process("promote", str(two.pinned), "--alias", "prod", "--json", "-q")
    document = json.loads(second.stdout)
    assert (document["reference"], document["tested_now"]) == (str(two.pinned), False)
    assert document["aliases"] == [
        {"alias": "prod", "digest": two.digest, "previous": one.digest, "up_to_date": False}
    ]  # fmt: skip
    back = completed_in_process("rollback", one.name, "--alias", "prod")
    assert (back.returncode, back.stdout) == (0, f"{one.pinned}\n")
    assert f'went back from "{two.digest}" to "{one.digest}"' in back.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["promote", "{at}:missing", "--alias", "prod"], 4, "does not exist"),
        (["promote", "a/b:1", "--alias", "prod"], 2, "names no registry"),
        (["promote", "{at}:1"], 2, "--alias"),
        (["rollback", "{at}", "--alias", "prod"], 4, "does not exist"),
        (["rollback", "{at}", "--alias", "prod", "--to", "1"], 2, "digest"),
    ],
    ids=["no image", "no registry", "no alias", "no such alias", "no digest"],
)
def test_what_cannot_be_promoted_or_rolled_back_is_refused(images, arguments, exit_code, words):
    result = completed_in_process(*(argument.format(at=images[0].name) for argument in arguments))
    assert result.returncode == exit_code
    assert words in result.stderr
