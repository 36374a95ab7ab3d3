"""An image is brought up to date, tested, and only then named by its aliases; what failed is not forgotten."""

from dataclasses import replace
from datetime import datetime, timezone

import pytest

from support.planning import FIXED, TODAY
from xgbpatch.contract.model import CheckResult, Report, Verdict
from xgbpatch.errors import ContractError
from xgbpatch.publish import aliases
from xgbpatch.publish.aliases import Tester
from xgbpatch.publish.attachments import Attachments
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
def steps(yard, examination):
    def make(plan, place):
        return make_in_registry(yard.services, plan, place, Attachments(sbom=False), accept_drift=False)

    return RebuildSteps(yard.services, lambda spec: yard.place, make, TODAY, tester=Tester(examination, MOMENT))


def test_an_image_is_tested_once(yard, steps, examination):
    first = rebuild.rebuild(steps, yard.spec)
    assert (first.outcome, first.tested, examination.runs) == (Outcome.RENEWED, True, 1)
    again = rebuild.rebuild(steps, yard.spec)
    assert (again.outcome, again.image.digest, again.tested) == (Outcome.CURRENT, first.image.digest, False)
    assert examination.runs == 1


@pytest.mark.parametrize("names", [(), ("prod",)], ids=["no alias", "an alias"])
def test_a_test_that_failed_is_not_forgotten(yard, steps, examination, names):
    spec = replace(yard.spec, aliases=names)
    examination.verdict = Verdict.FAILED
    for _ in range(2):
        failed = rebuild.rebuild(steps, spec)
        assert failed.outcome is Outcome.FAILED
        assert isinstance(failed.error, ContractError)
        assert "prod" not in yard.services.registry.tags(yard.place)
    examination.verdict = Verdict.PASSED
    mended = rebuild.rebuild(steps, spec)
    assert (mended.error, mended.tested) == (None, True)
    assert rebuild.rebuild(steps, spec).outcome is Outcome.CURRENT
    assert examination.runs == 3


def test_an_alias_that_was_rolled_back_stays_while_another_one_moves(yard, steps):
    spec = replace(yard.spec, aliases=("prod", "staging"))
    first = rebuild.rebuild(steps, spec).image
    yard.move(FIXED)
    second = rebuild.rebuild(steps, spec).image
    aliases.rollback_alias(yard.services, yard.place, "prod")
    yard.services.registry.put_manifest(yard.place.with_tag("staging"), yard.services.registry.manifest(first))
    assert rebuild.rebuild(steps, spec).aliases == ("staging",)
    named = [yard.services.registry.head(yard.place.with_tag(alias)).digest for alias in spec.aliases]
    assert named == [first.digest, second.digest]


def test_what_was_pushed_untested_is_tested_where_it_stands(yard, steps, examination):
    image = yard.publish()
    found = rebuild.rebuild(steps, yard.spec)
    assert (found.outcome, found.image.digest, found.tested) == (Outcome.CURRENT, image.digest, True)
    assert rebuild.rebuild(steps, yard.spec).tested is False


def test_a_finding_of_the_scan_is_not_forgotten(yard, steps, examination):
    refusals = []

    def gate(base, image):
        refusals.append(image)
        raise ContractError("it adds a finding")

    for _ in range(2):
        assert rebuild.rebuild(replace(steps, gate=gate), yard.spec).outcome is Outcome.FAILED
    assert len(refusals) == 2
    assert examination.runs == 0


def test_without_a_test_the_image_waits_for_its_promotion(yard, steps):
    spec, untested = replace(yard.spec, aliases=("prod",)), replace(steps, tester=None)
    made = rebuild.rebuild(untested, spec)
    assert (made.outcome, made.aliases) == (Outcome.RENEWED, ())
    writes = yard.loopback.writes()
    waiting = rebuild.rebuild(untested, spec)
    assert (waiting.outcome, waiting.image.digest) == (Outcome.WAITING, made.image.digest)
    assert yard.loopback.writes() == writes
    yard.move(FIXED)
    assert rebuild.rebuild(untested, spec).outcome is Outcome.RENEWED
    assert rebuild.rebuild(steps, spec).aliases == ("prod",)
