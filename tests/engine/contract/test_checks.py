"""Every check passes on a sound base, and is seen to fail on an image with one thing broken."""

import os
import shutil
from contextlib import ExitStack

import pytest

from support import broken
from support.bases import versions
from support.broken import ANSWERS_ANYTHING, FORGETS, Breakage, claims, original
from xgbpatch import contract
from xgbpatch.contract import CHECKS, Options
from xgbpatch.contract.jobs import ABALONE
from xgbpatch.contract.model import Verdict
from xgbpatch.contract.session import Session

pytestmark = pytest.mark.timeout(600)

SERVING = tuple(check.name for check in CHECKS if check.group in ("serve", "batch", "ensemble", "multi-model"))
OURS = ("shap", "shap-probability", "daal4py", "training", "fix")
BREAKAGES = {
    "lies": Breakage("lies", {"serve": ANSWERS_ANYTHING}),
    "forgets": Breakage("forgets", {"serve": original("serve", f"unset {' '.join(FORGETS)}")},
                        {"SAGEMAKER_INFERENCE_ENSEMBLE": "false"}),
    "idle": Breakage("idle", {"train": "#!/bin/sh\nexit 0\n"}),
    "silent": Breakage("silent", {"train": original("train", "exec >/dev/null")}),
    "ends": Breakage("ends", {"serve": "#!/bin/sh\necho no luck; exit 0\n"}),
    "bare": Breakage("bare", run="rm -f $(command -v serve) $(command -v train)",
                     labels={"com.amazonaws.sagemaker.capabilities.multi-models": "false"}),
    "stubborn": Breakage("stubborn", {"serve": original("sh -c 'serve & while :; do sleep 1; done'", "trap '' TERM")}),
}  # fmt: skip


@pytest.fixture(scope="module")
def base(base_of):
    return base_of(os.environ.get("XGBPATCH_TEST_VERSION", "1.5-1"))


@pytest.fixture(scope="module")
def derived(engine, base):
    """`derived(breakage)`: the name of the broken image, removed with the module."""
    with ExitStack() as images:
        yield lambda breakage: images.enter_context(broken.built(engine, base, breakage))


@pytest.fixture(scope="module")
def report_on(engine, derived, tmp_path_factory):
    """`report_on(breakage, *checks)`: the results by name; each broken image is checked once."""
    made = {}

    def results(breakage, checks, **options):
        if breakage.name not in made:
            image = derived(breakage)
            asked = Options(checks=checks, ready=30, logs=tmp_path_factory.mktemp("logs"), **options)
            made[breakage.name] = contract.check(engine, image, asked)
        return {result.name: result for result in made[breakage.name].results}

    return results


@pytest.fixture(scope="module")
def model(engine, base, tmp_path_factory):
    """A model directory of the base's own making, so that not every broken image trains one."""
    directory = tmp_path_factory.mktemp("model")
    with Session.opened(engine, engine.image(base), Options()) as session:
        shutil.copy(session.trained(ABALONE).model, directory)
    return directory


@pytest.mark.parametrize("version", versions()[:-1])  # test_features runs every check on the newest
def test_a_sound_base_passes_every_check_that_applies(engine, version, base_of, tmp_path):
    report = contract.check(engine, base_of(version), Options(logs=tmp_path))
    assert {result.name: result.reason for result in report.results if result.verdict is Verdict.FAILED} == {}
    skipped = {result.name.partition(".")[0] for result in report.results if result.verdict is Verdict.SKIPPED}
    assert skipped <= set(OURS)
    assert list(tmp_path.iterdir()) == []


LIES = tuple(
    name for name in SERVING if name not in ("serve.cold-start", "serve.bind-port", "multi-model.ping", "serve.stop")
)
FORGOTTEN = ("serve.selectable", "serve.accept-jsonlines", "serve.bind-port", "batch.lines", "batch.payload",
             "ensemble.mean", "multi-model.ping", "multi-model.load")  # fmt: skip
UNTRAINED = ("train.model", "train.metrics", "train.csv", "train.user-error", "serve.ping")
CASES = (
    [("lies", name, "") for name in LIES]
    + [("forgets", name, "") for name in FORGOTTEN]
    + [("idle", name, "") for name in UNTRAINED]
    + [("silent", "train.metrics", "0 lines"), ("ends", "serve.ping", "ended with exit code 0")]
    + [("bare", "image.commands", '"train, serve"'), ("bare", "image.labels", "multi-models")]
    + [("bare", "train.model", "executable file not found"), ("bare", "serve.ping", "executable file not found")]
)


@pytest.mark.parametrize(("name", "check", "said"), [pytest.param(*case, id=f"{case[0]}-{case[1]}") for case in CASES])
def test_a_broken_image_fails_the_check(report_on, name, check, said):
    asked = tuple(dict.fromkeys(case[1] for case in CASES if case[0] == name))
    result = report_on(BREAKAGES[name], asked)[check]
    assert result.verdict is Verdict.FAILED, result.reason
    assert said in result.reason


def test_a_server_deaf_to_sigterm_fails(report_on, model):
    result = report_on(BREAKAGES["stubborn"], ("serve.stop",), grace=5, model=model)["serve.stop"]
    assert result.verdict is Verdict.FAILED
    assert "still running 5 s after SIGTERM" in result.reason
    assert "serve.plain.log" in result.log


def test_an_overlay_that_adds_to_answers_unasked_fails(engine, base, model, report_on):
    labels = claims(base, engine.image(base).id, "shap,daal4py")
    breakage = Breakage("babbles", {"serve": ANSWERS_ANYTHING}, labels=labels)
    results = report_on(breakage, ("shap.off", "daal4py.predictions"), model=model)
    assert {result.verdict for result in results.values()} == {Verdict.FAILED}


def test_an_image_that_does_not_stand_on_its_base_fails_the_size_check(engine, derived, report_on):
    other = derived(Breakage("other", run="touch /other"))
    results = report_on(Breakage("uprooted", labels=claims(other, engine.image(other).id)), ("image.size",))
    assert "not the image's lowest layers" in results["image.size"].reason


def test_one_different_byte_shows_against_the_base(engine, base, model, report_on):
    labels = claims(base, engine.image(base).id)
    breakage = Breakage("one-byte", environment={"MAX_CONTENT_LENGTH": str(7 * 2**20)}, labels=labels)
    result = report_on(breakage, ("base.plain",), model=model)["base.plain"]
    assert result.verdict is Verdict.FAILED
    assert "parameters (GET /execution-parameters): body from byte" in result.reason
    assert "MaxPayloadInMB" in result.reason
    assert {"serve.plain.log", "serve.plain.base.log"} <= {path.rpartition("/")[2] for path in result.log.split(", ")}


def test_without_a_base_in_the_labels_the_comparison_is_skipped(engine, base, tmp_path):
    report = contract.check(engine, base, Options(checks=("base.plain",), logs=tmp_path))
    assert [(result.verdict, "give --base" in result.reason) for result in report.results] == [(Verdict.SKIPPED, True)]
