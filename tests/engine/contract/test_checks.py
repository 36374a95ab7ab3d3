"""Every check passes on a sound base, and is seen to fail on an image with one thing broken."""

import os
import shutil
from contextlib import ExitStack, contextmanager

import pytest

from support import broken
from support.bases import versions
from support.broken import ANSWERS_ANYTHING, FORGETS, Breakage, claims, original
from support.patient_engine import PatientEngine
from support.standin.base_process import Ended
from xgbpatch import contract
from xgbpatch.contract import CHECKS, Options
from xgbpatch.contract.jobs import ABALONE, TIMEOUT_SECONDS
from xgbpatch.contract.model import FEATURES_VARIABLE, Verdict
from xgbpatch.contract.session import Session
from xgbpatch.engine.types import Completed

BASES_OWN = tuple(check for check in CHECKS if not check.feature and not check.fix)
SERVING = tuple(check.name for check in BASES_OWN if check.group in ("serve", "batch", "ensemble", "multi-model"))
ELSEWHERE = ("batch", "ensemble", "multi-model", "base", "serve.bind-port")
# An image is dear to make and to check: several things are broken in one where they do not hide each other.
BREAKAGES = {
    "lies": Breakage("lies", {"serve": ANSWERS_ANYTHING}, {FEATURES_VARIABLE: "shap,daal4py,json-input"}),
    "forgets": Breakage("forgets", {"serve": original("serve", f"unset {' '.join(FORGETS)}")},
                        {"SAGEMAKER_INFERENCE_ENSEMBLE": "false"}),
    "stays": Breakage("stays", {"serve": ANSWERS_ANYTHING.replace("\n", "\nunset SAGEMAKER_BIND_TO_PORT\n", 1)}),
    "idle": Breakage("idle", {"train": "#!/bin/sh\nexit 0\n", "serve": "#!/bin/sh\necho no luck; exit 0\n"}),
    "silent": Breakage("silent", {"serve": "#!/bin/sh\nexec sleep 600\n"}),
    "deaf": Breakage("deaf", {"train": original("train", "exec >/dev/null"),
                              "serve": ANSWERS_ANYTHING.replace("\n", "\ntrap '' TERM\n", 1)}),
    "bare": Breakage("bare", run="rm -f $(command -v serve) $(command -v train)",
                     labels={"com.amazonaws.sagemaker.capabilities.multi-models": "false"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def base(base_of):
    return base_of(os.environ.get("XGBPATCH_TEST_VERSION", "1.5-1"))


class TrainedOnce(PatientEngine):
    """A job that has run under its name is not run again: what it left is there at once. For the base's own `train`."""

    def __init__(self, engine, kept):
        super().__init__(engine._client)
        self._kept = kept
        self._ended = {}

    @contextmanager
    def container(self, run):
        if run.command != ("train",):
            with super().container(run) as container:
                yield container
            return
        (root,) = (mount.source for mount in run.mounts if mount.target == "/opt/ml")
        if root.name in self._ended:
            shutil.copytree(self._kept / root.name, root, dirs_exist_ok=True)
            yield Ended(self._ended[root.name])
            return
        with super().container(run) as container:
            yield container
            completed = Completed(container.wait(TIMEOUT_SECONDS), container.stdout(), container.stderr())
        shutil.copytree(root, self._kept / root.name)
        self._ended[root.name] = completed


@pytest.fixture(scope="module")
def trained_once(engine, tmp_path_factory):
    return TrainedOnce(engine, tmp_path_factory.mktemp("jobs"))


@pytest.fixture(scope="module")
def derived(engine, base):
    """`derived(breakage)`: the name of the broken image, made once and removed with the module."""
    names = {}
    with ExitStack() as images:

        def image(breakage):
            if breakage.name not in names:
                names[breakage.name] = images.enter_context(broken.built(engine, base, breakage))
            return names[breakage.name]

        yield image


@pytest.fixture(scope="module")
def report_on(engine, trained_once, derived, tmp_path_factory):
    """`report_on(breakage, *checks)`: the results by name; each broken image is checked once."""
    reports = {}

    def results(breakage, checks, **options):
        if breakage.name not in reports:
            image = derived(breakage)
            if breakage.name == "silent":
                options["ready"] = 5  # seconds
            check_options = Options(checks=checks, logs=tmp_path_factory.mktemp("logs"), **options)
            trains_as_base = breakage.name in ("forgets", "one-byte")
            reports[breakage.name] = contract.check(trained_once if trains_as_base else engine, image, check_options)
        return {result.name: result for result in reports[breakage.name].results}

    return results


@pytest.fixture(scope="module")
def model(trained_once, base, tmp_path_factory):
    """A model directory of the base's own making, so that not every broken image trains one."""
    directory = tmp_path_factory.mktemp("model")
    with Session.opened(trained_once, trained_once.image(base), Options()) as session:
        shutil.copy(session.trained(ABALONE).model, directory)
    return directory


@pytest.mark.parametrize("version", versions()[:-1])
def test_a_sound_base_passes_every_check_that_its_version_bears_on(
    engine, trained_once, version, base, base_of, tmp_path
):
    """test_features.py runs every check on the newest base; tests/standin holds an old one to what is left out here."""
    checks = tuple(check.name for check in CHECKS if check.group not in ELSEWHERE and check.name not in ELSEWHERE)
    with_jobs = trained_once if base_of(version) == base else engine
    report = contract.check(with_jobs, base_of(version), Options(checks=checks, logs=tmp_path))
    assert {result.name: result.reason for result in report.results if result.verdict is Verdict.FAILED} == {}
    skipped = {result.name for result in report.results if result.verdict is Verdict.SKIPPED}
    assert skipped.isdisjoint(check.name for check in BASES_OWN)
    assert list(tmp_path.iterdir()) == []


TRUTHFUL = ("serve.cold-start", "serve.bind-port", "ensemble.mean", "multi-model.ping", "serve.stop")
LIES = tuple(name for name in SERVING if name not in TRUTHFUL)
UNASKED = ("shap.off", "daal4py.predictions", "json-input.refusals")  # an overlay that adds to answers fails them
SHARED = ("shap.batch", "shap.multi-model", "daal4py.same-bytes")  # test_features.py leaves them out
FORGOTTEN = ("serve.selectable", "serve.accept-jsonlines", "batch.lines", "batch.payload", "ensemble.mean")
CASES = (
    [("lies", name, "") for name in (*LIES, *UNASKED, *SHARED)]
    + [("forgets", name, "") for name in FORGOTTEN]
    + [("stays", "serve.bind-port", "answers on port 8080, not on 9090")]
    + [("idle", name, "") for name in ("train.model", "train.metrics", "train.csv", "train.user-error")]
    + [("idle", "serve.ping", "ended with exit code 0"), ("idle", "ensemble.mean", "no model to serve: training job")]
    + [("silent", "multi-model.ping", "not ready within 5 s: no answer")]
    + [("deaf", "train.metrics", "0 lines"), ("deaf", "serve.stop", "still running 5 s after SIGTERM")]
    + [("bare", "image.commands", '"train, serve"'), ("bare", "image.labels", "multi-models")]
    + [("bare", "train.model", "executable file not found"), ("bare", "serve.ping", "executable file not found")]
)


@pytest.mark.parametrize(
    ("name", "check", "reason"), [pytest.param(*case, id=f"{case[0]}-{case[1]}") for case in CASES]
)
def test_a_broken_image_fails_the_check(report_on, model, name, check, reason):
    checks = tuple(dict.fromkeys(case[1] for case in CASES if case[0] == name))
    result = report_on(BREAKAGES[name], checks, grace=5, model=None if name == "bare" else model)[check]
    assert result.verdict is Verdict.FAILED, result.reason
    assert reason in result.reason
    if name == "deaf" and check == "serve.stop":
        assert "serve.plain.log" in result.log


def test_an_image_that_does_not_stand_on_its_base_fails_the_size_check(engine, derived, report_on):
    other = derived(BREAKAGES["lies"])
    results = report_on(Breakage("uprooted", labels=claims(other, engine.image(other).id)), ("image.size",))
    assert "not the image's lowest layers" in results["image.size"].reason


def test_one_different_byte_shows_against_the_base(engine, derived, model, report_on):
    """Of servers that answer anything, which start in no time: what is compared is no matter. One answer differs, which
    only the longest table asks for."""
    base = derived(BREAKAGES["lies"])
    expression = "self.rfile.read(length)"
    other = ANSWERS_ANYTHING.replace(f"rows = {expression}", f"sent = {expression}\n        rows = sent")
    other = other.replace('b"1.5\\n"', 'b"1.%d\\n" % (5 + sent.startswith(b"a,b,c"))')
    breakage = Breakage("one-byte", {"serve": other}, labels=claims(base, engine.image(base).id))
    checks = ("base.plain", "base.selected", "base.batch", "base.ensemble")
    results = report_on(breakage, checks, model=model)
    assert {results[name].verdict for name in checks[1:]} == {Verdict.PASSED}
    result = results["base.plain"]
    assert result.verdict is Verdict.FAILED
    assert result.reason.startswith("1 of ")
    assert "csv, a header row (" in result.reason
    assert "body from byte 2: base b'1.5" in result.reason
    assert {"serve.plain.log", "serve.plain.base.log"} <= {path.rpartition("/")[2] for path in result.log.split(", ")}


def test_without_a_base_in_the_labels_the_comparison_is_skipped(engine, base, model, tmp_path):
    report = contract.check(engine, base, Options(model=model, checks=("base.plain",), logs=tmp_path))
    assert [(result.verdict, "give --base" in result.reason) for result in report.results] == [(Verdict.SKIPPED, True)]
