"""An image is brought up to date, tested, and only then named by its aliases; what failed is not forgotten."""

from dataclasses import replace
from datetime import datetime, timezone

import pytest

from support.planning import FIXED, TODAY
from xgbpatch.contract.model import CheckResult, Report, Verdict
from xgbpatch.errors import ContractError
from xgbpatch.publish import aliases
from xgbpatch.publish.aliases import Tester
from xgbpatch.upkeep import rebuild
from xgbpatch.upkeep.rebuild import Outcome, RebuildSteps, make_in_registry

MOMENT = datetime(2026, 11, 21, tzinfo=timezone.utc)


class Examination:
    """`test-local` in the place of an engine: what it will say, and how often it was asked."""

    def __init__(self):
        self.verdict, self.runs = Verdict.PASSED, 0

    def __call__(self, image):
        self.runs += 1
        return Report("", (CheckResult("serve.ping", self.verdict, "", 0.1),))


@pytest.fixture
def examination():
    return Examination()


@pytest.fixture
def steps(image_repository, examination):
    def make(plan, place):
        return make_in_registry(image_repository.services, plan, place, accept_drift=False)

    return RebuildSteps(
        image_repository.services, lambda spec: image_repository.place, make, lambda reference: None, TODAY,
        tester=Tester(examination, MOMENT),
    )  # fmt: skip


def test_an_image_is_tested_once(image_repository, steps, examination):
    first = rebuild.rebuild(steps, image_repository.spec)
    assert (first.outcome, first.tested, examination.runs) == (Outcome.RENEWED, True, 1)
    again = rebuild.rebuild(steps, image_repository.spec)
    assert (again.outcome, again.image.digest, again.tested) == (Outcome.CURRENT, first.image.digest, False)
    assert examination.runs == 1


@pytest.mark.parametrize("names", [(), ("prod",)], ids=["no alias", "an alias"])
def test_a_test_that_failed_is_not_forgotten(image_repository, steps, examination, names):
    spec = replace(image_repository.spec, aliases=names)
    examination.verdict = Verdict.FAILED
    for _ in range(2):
        failed = rebuild.rebuild(steps, spec)
        assert failed.outcome is Outcome.FAILED
        assert isinstance(failed.error, ContractError)
        assert "prod" not in image_repository.services.registry.tags(image_repository.place)
    examination.verdict = Verdict.PASSED
    mended = rebuild.rebuild(steps, spec)
    assert (mended.error, mended.tested) == (None, True)
    assert rebuild.rebuild(steps, spec).outcome is Outcome.CURRENT
    assert examination.runs == 3


def test_an_alias_that_was_rolled_back_stays_while_another_one_moves(image_repository, steps):
    spec = replace(image_repository.spec, aliases=("prod", "staging"))
    first = rebuild.rebuild(steps, spec).image
    image_repository.move(FIXED)
    second = rebuild.rebuild(steps, spec).image
    aliases.rollback_alias(image_repository.services, image_repository.place, "prod")
    image_repository.services.registry.put_manifest(
        image_repository.place.with_tag("staging"), image_repository.services.registry.manifest(first)
    )
    assert rebuild.rebuild(steps, spec).aliases == ("staging",)
    named = [
        image_repository.services.registry.head(image_repository.place.with_tag(alias)).digest for alias in spec.aliases
    ]
    assert named == [first.digest, second.digest]


def test_what_was_pushed_untested_is_tested_where_it_stands(image_repository, steps, examination):
    image = image_repository.publish()
    result = rebuild.rebuild(steps, image_repository.spec)
    assert (result.outcome, result.image.digest, result.tested) == (Outcome.CURRENT, image.digest, True)
    assert rebuild.rebuild(steps, image_repository.spec).tested is False


def test_a_finding_of_the_scan_is_not_forgotten(image_repository, steps, examination):
    refusals = []

    def gate(base, image):
        refusals.append(image)
        raise ContractError("it adds a finding")

    for _ in range(2):
        assert rebuild.rebuild(replace(steps, gate=gate), image_repository.spec).outcome is Outcome.FAILED
    assert len(refusals) == 2
    assert examination.runs == 0


def test_without_a_test_the_image_waits_for_its_promotion(image_repository, steps):
    spec, untested = replace(image_repository.spec, aliases=("prod",)), replace(steps, tester=None)
    result = rebuild.rebuild(untested, spec)
    assert (result.outcome, result.aliases) == (Outcome.RENEWED, ())
    writes = image_repository.loopback.writes()
    waiting = rebuild.rebuild(untested, spec)
    assert (waiting.outcome, waiting.image.digest) == (Outcome.WAITING, result.image.digest)
    assert image_repository.loopback.writes() == writes
    image_repository.move(FIXED)
    assert rebuild.rebuild(untested, spec).outcome is Outcome.RENEWED
    assert rebuild.rebuild(steps, spec).aliases == ("prod",)
