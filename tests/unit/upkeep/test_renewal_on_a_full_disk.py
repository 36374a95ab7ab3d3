"""A disk that is full fails one image, and not the others of the same run."""

from __future__ import annotations

import errno
from datetime import date

from xgbpatch.commands import plan
from xgbpatch.errors import FileError
from xgbpatch.reference import ImageReference
from xgbpatch.spec import Spec
from xgbpatch.upkeep import plan as upkeep_plan
from xgbpatch.upkeep import rebuild
from xgbpatch.upkeep.rebuild import Outcome, RebuildSteps

SPEC = Spec("3.2-0", "us-west-2", "fraud", base_image=ImageReference.parse("localhost:1/base:1"), repository="fraud")
SAYS = 'the system refused "/cache/wheel": No space left on device'


def full(*arguments):
    raise OSError(errno.ENOSPC, "No space left on device", "/cache/wheel")


def test_rebuild_tells_it_of_that_image():
    result = rebuild.rebuild(RebuildSteps(None, full, full, full, date(2026, 11, 1)), SPEC)
    assert (result.outcome, result.error.message, result.error.exit_code) == (Outcome.FAILED, SAYS, FileError.exit_code)


def test_plan_tells_it_of_that_image(monkeypatch):
    from xgbpatch.spec import PublishTarget

    monkeypatch.setattr(upkeep_plan, "plan", full)
    failure = plan._planned(None, SPEC, PublishTarget("localhost:1", ""), False)
    assert (failure.error.message, failure.error.exit_code) == (SAYS, FileError.exit_code)
