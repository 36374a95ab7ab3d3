"""An image built on a patched one inherits its labels: commands see that its content differs, and leave it alone."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from support import handmade
from support.handmade import HandLayer, forge, plain_layer, tar
from support.planning import TODAY
from xgbpatch import cache, provenance
from xgbpatch.build import verify
from xgbpatch.contract.model import Verdict
from xgbpatch.engine.types import LocalImage
from xgbpatch.errors import ConfigurationError, ContractError, RegistryError
from xgbpatch.publish import aliases, test_record
from xgbpatch.publish.aliases import Tester
from xgbpatch.publish.push import Publisher, PushRequest, PushResult
from xgbpatch.registry.client import load_image
from xgbpatch.upkeep import rebuild
from xgbpatch.upkeep.plan import Cause, State

NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
MOTD = tar({"etc/motd": b"evil\n"})


def serving_module(config):
    config["config"]["Env"] = [
        "SAGEMAKER_SERVING_MODULE=evil:main" if entry.startswith("SAGEMAKER_SERVING_MODULE=") else entry
        for entry in config["config"]["Env"]
    ]


def swapped(services, image):
    """Our layer with another content of one file, in the place of ours."""
    own = plain_layer(services, image).plain
    other = own.replace(b"def main(", b"def mian(", 1)
    assert other != own
    layers = [plain_layer(services, image, position) for position in range(3)]
    return forge(services, image, layers=[*layers, HandLayer(other)])


FOREIGN = {
    "a file and a variable": lambda services, image: forge(services, image, serving_module, added=[MOTD]),
    "a variable": lambda services, image: forge(services, image, serving_module),
    "a file": lambda services, image: forge(services, image, added=[MOTD]),
    "another content": swapped,
    "another command": lambda services, image: forge(
        services, image, lambda config: config["config"].update(Cmd=["sh"])
    ),
}


@pytest.fixture(params=FOREIGN.values(), ids=FOREIGN)
def foreign(request, image_repository):
    """By digest; it stands under the version tag of ours, with its labels."""
    ours = image_repository.publish()
    image = request.param(image_repository.services, ours)
    labels = [load_image(image_repository.services.registry, each).labels for each in (ours, image)]
    assert labels[0] == labels[1]
    assert image.digest != ours.digest
    return image


def test_a_build_refuses_it_and_leaves_it_alone(image_repository, foreign):
    with pytest.raises(RegistryError, match="already holds another image") as refused:
        image_repository.publish()
    assert foreign.digest in refused.value.message
    assert image_repository.services.registry.head(foreign.with_digest("")).digest == foreign.digest
    tags = image_repository.loopback.tags(foreign.repository)
    assert tags == [foreign.tag], "nothing is attached to it"


def test_a_plan_says_that_a_person_must_look(image_repository, foreign):
    plan = image_repository.plan()
    assert (plan.state, plan.state.exit_code) == (State.FOREIGN, 20)
    assert [reason.cause for reason in plan.reasons] == [Cause.FOREIGN]
    assert "not what its labels say" in plan.reasons[0].words


def test_a_rebuild_waits_for_that_person(image_repository, foreign):
    steps = rebuild.RebuildSteps(
        image_repository.services, lambda spec: image_repository.place, lambda plan, place: pytest.fail("made"),
        lambda reference: None, TODAY, accept_drift=True,
    )  # fmt: skip
    assert rebuild.rebuild(steps, image_repository.spec).outcome is rebuild.Outcome.FOREIGN


def test_what_the_cache_says_of_another_image_is_not_believed(image_repository, foreign):
    proven = image_repository.services.cache / "proven"
    for content in ({"image": "sha256:" + "0" * 64}, {}, [], None):
        cache.write(proven / f"{foreign.digest.removeprefix('sha256:')}.json.gz", content)
        assert image_repository.plan().state is State.FOREIGN


def test_a_promotion_refuses_it_though_it_has_a_record(image_repository, foreign):
    services = image_repository.services
    record = test_record.TestRecord(foreign.digest, "1", "2026-11-21T12:00:00Z", {"serve.ping": Verdict.PASSED})
    test_record.keep(services, foreign, record)
    with pytest.raises(ContractError, match="is not what its labels say"):
        aliases.promote(services, foreign, ["prod"], Tester(lambda image: pytest.fail("tested"), NOON))
    assert services.registry.head(foreign.with_tag("prod")) is None


def test_an_alias_that_names_it_does_not_make_it_current(image_repository, foreign):
    spec = replace(image_repository.spec, aliases=("prod",))
    aliases.promote_alias(image_repository.services, foreign, "prod")
    assert image_repository.plan(spec).state is State.FOREIGN


# `push`: what the engine holds, told by the configuration that it would show, and what stands under the tag.


def local(image, layers=None):
    """The image as an engine holds it."""
    document = {key: value for key, value in image.config.items() if key != "created"}
    if layers:
        document["rootfs"] = {"diff_ids": [layer.diff_id for layer in layers]}
    summary = image.summary
    return LocalImage(
        handmade.sha256(json.dumps(document).encode()), ("fraud:1",), (), summary.labels, summary.environment,
        tuple(document["rootfs"]["diff_ids"]), 0, "", "amd64", document,
    )  # fmt: skip


def push(image_repository, image, reference):
    """No engine is asked where the tag is taken."""
    return Publisher(None, image_repository.services).push(PushRequest(image, reference.with_digest("")))


@pytest.fixture
def ours(image_repository):
    return load_image(image_repository.services.registry, image_repository.publish())


def rebuilt(image_repository, ours):
    """The same image with another time in its layer, as the engine's builder makes it on another day."""
    layers = [plain_layer(image_repository.services, ours.reference, position) for position in range(4)]
    image = local(ours, [*layers[:3], HandLayer(layers[3].plain + b"\0" * 512)])
    labels = {**image.labels, provenance.CREATED: "2027-01-01T00:00:00Z"}
    document = {**image.document, "config": {**image.document["config"], "Labels": labels}}
    return replace(image, labels=labels, document=document)


def test_push_of_the_same_layers_and_configuration_is_up_to_date(image_repository, ours):
    assert push(image_repository, local(ours), ours.reference).up_to_date


def test_push_of_a_rebuild_that_was_verified_here_is_up_to_date(image_repository, ours):
    again = rebuilt(image_repository, ours)
    with pytest.raises(RegistryError, match="was not built and verified here"):
        push(image_repository, again, ours.reference)
    verify.remember(image_repository.services.cache, replace(again, id="sha256:" + "0" * 64))
    with pytest.raises(RegistryError, match="was not built and verified here"):
        push(image_repository, again, ours.reference)
    verify.remember(image_repository.services.cache, again)
    assert push(image_repository, again, ours.reference).reference.digest == ours.manifest.digest


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN)
def test_push_of_ours_refuses_a_foreign_image_under_its_tag(image_repository, ours, make):
    mine = local(ours)
    verify.remember(image_repository.services.cache, mine)
    foreign = make(image_repository.services, ours.reference)
    with pytest.raises(RegistryError, match="already holds another image") as refused:
        push(image_repository, mine, ours.reference)
    assert foreign.digest in refused.value.message
    assert image_repository.services.registry.head(foreign.with_digest("")).digest == foreign.digest


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN)
def test_push_of_a_foreign_image_over_ours_is_refused(image_repository, ours, make):
    foreign = load_image(image_repository.services.registry, make(image_repository.services, ours.reference))
    image_repository.services.registry.put_manifest(ours.reference.with_digest(""), ours.manifest)
    with pytest.raises(RegistryError, match="already holds another image"):
        push(image_repository, local(foreign), ours.reference)


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN)
def test_aliases_that_labels_chose_do_not_move_to_a_foreign_image(image_repository, ours, make):
    services = image_repository.services
    foreign = load_image(services.registry, make(services, ours.reference))
    publisher = Publisher(None, services)
    requests = [PushRequest(local(image), image.reference, ("prod",), proof=True) for image in (foreign, ours)]
    results = [PushResult(image.reference) for image in (foreign, ours)]
    with pytest.raises(ContractError, match="not proved to be what its labels say"):
        publisher.move_aliases(requests[0], results[0])
    assert services.registry.head(ours.reference.with_tag("prod")) is None
    assert publisher.move_aliases(requests[1], results[1]).aliases[0].digest == ours.reference.digest


@pytest.mark.parametrize("pattern", ["{version}", "fraud", "{version}-{base}"])
def test_a_version_tag_never_moves_whatever_the_pattern(image_repository, pattern):
    first = image_repository.publish(replace(image_repository.spec, tag=pattern))
    other = image_repository.publish(replace(image_repository.spec, features=("training",)))
    with pytest.raises(ConfigurationError, match="version tag"):
        aliases.promote_alias(image_repository.services, other, first.tag)
    assert image_repository.services.registry.head(first.with_digest("")).digest == first.digest
