"""Checks of features and fixes pass on an image that carries all, and fail where one is missing, or a little wrong."""

import os
from dataclasses import replace

import pytest

from support import broken
from support.bases import LONG
from support.broken import Breakage, claims
from support.pipeline import build_spec
from support.standin.base_process import OneContainer, base_process
from xgbpatch import contract
from xgbpatch.contract import CHECKS, Options
from xgbpatch.contract.checks import multi_model
from xgbpatch.contract.model import Verdict
from xgbpatch.patch.features import FEATURES, FIXES, fixes_of

VERSION = os.environ.get("XGBPATCH_TEST_VERSION", "3.2-0")
# A base without the feature is right about these: it answers as it always did.
HARMLESS = {"shap.off", "daal4py.predictions"}
# Seen to fail in test_checks.py, where a server is cheap: they hold answers as others do that fail here.
ELSEWHERE = {"shap.batch", "shap.multi-model", "daal4py.same-bytes"}
# Behind the overlay's own proof of its values, which would refuse them.
WRONG = {
    "shap/response.py": """
import dataclasses
_make = KeyValues.__init__
def _make_wrong(self, explanation, top_k):
    values = explanation.values.copy()
    values[..., :-1] *= 1.01
    _make(self, dataclasses.replace(explanation, values=values), top_k)
KeyValues.__init__ = _make_wrong
write_within = lambda limit, records, write: write(records)
""",
    "settings.py": """
READERS = dict(READERS, top_k=lambda name, text: abs(int(text)))
""",
}
SEEN_WRONG = ("attributes", "accept", "top-k", "interactions", "approximate", "column-names", "bad-option", "keys-json",
              "keys-jsonlines", "keys-csv", "keys-recordio-protobuf", "payload")  # fmt: skip


@pytest.fixture(scope="module")
def built(builder, spec_of):
    """All features and all fixes of the version."""
    fixes = tuple(fix.name for fix in fixes_of(VERSION))
    result = build_spec(builder, replace(spec_of(VERSION), features=tuple(FEATURES), fixes=fixes))
    yield str(result.reference)
    builder.engine.remove(result.reference)


def failed(engine, image, checks, logs):
    report = contract.check(engine, image, Options(checks=checks, logs=logs))
    return {result.name: result.reason for result in report.results if result.verdict is Verdict.FAILED}


@pytest.mark.skipif(not LONG, reason="minutes; XGBPATCH_TEST_LONG=1 runs it, scripts/matrix covers more")
def test_an_image_with_every_feature_and_every_fix_passes_every_check(engine, built, tmp_path):
    report = contract.check(engine, built, Options(logs=tmp_path))
    assert {result.name: result.reason for result in report.results if result.verdict is Verdict.FAILED} == {}
    skipped = {result.name for result in report.results if result.verdict is Verdict.SKIPPED}
    assert skipped <= {check.name for check in CHECKS if check.fix and VERSION not in FIXES[check.fix].versions}


def test_an_image_that_differs_in_labels_alone_is_its_base_and_fails_every_check_of_what_it_lacks(
    engine, base_of, tmp_path, monkeypatch
):
    """Its jobs and most of its servers are the base's own, in one container: what is seen is how checks judge them."""
    base = base_of(VERSION)
    labels = claims(base, engine.image(base).id, ",".join(FEATURES), ",".join(FIXES))
    ours = {check.name for check in CHECKS if check.feature or check.fix} - ELSEWHERE
    # The base's own: tests/e2e/pipeline sees them pass on a patched image of this version.
    checks = ours | ({check.name for check in CHECKS if check.group != "base"} - ELSEWHERE if LONG else set())
    absent = {f"fix.{name}" for name in FIXES if VERSION not in FIXES[name].versions}
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(work))
    # The line of a fix that is not there never comes; meanwhile the model server starts worker after worker.
    monkeypatch.setattr(multi_model, "_LOGGED_SECONDS", 1)
    with (
        broken.built(engine, base, Breakage("empty-promise", labels=labels)) as image,
        base_process(engine, image, work) as process,
    ):
        report = contract.check(
            OneContainer(engine, process), image, Options(checks=tuple(checks), logs=tmp_path / "logs")
        )
    verdicts = {verdict: {result.name for result in report.results if result.verdict is verdict} for verdict in Verdict}
    assert verdicts[Verdict.FAILED] == ours - absent - HARMLESS
    assert verdicts[Verdict.SKIPPED] <= absent
    assert checks - ours <= verdicts[Verdict.PASSED]


def test_explanations_that_are_a_little_wrong_fail_every_check_that_reads_them(engine, patched, tmp_path):
    sound = str(patched(VERSION, "shap").reference)
    lib = "/opt/xgbpatch/lib/xgbpatch_overlays"
    run = " && ".join(f"printf {code!r} >> {lib}/{name}" for name, code in WRONG.items())
    checks = tuple(f"shap.{what}" for what in SEEN_WRONG)
    breakage = Breakage("a-little-wrong", environment={"SAGEMAKER_MODEL_SERVER_WORKERS": "1"}, run=run)
    with broken.built(engine, sound, breakage) as image:
        assert set(failed(engine, image, checks, tmp_path)) == set(checks)
