"""`rebuild` does what `plan` found: only what needs it, each image for itself, aliases last."""

import json
import signal
import subprocess
import time

import pytest

from support.dying_process import SENT, work
from support.handmade_bases import HandBase
from support.rebuilding import Yard
from support.registries import registry
from support.servers import stalling
from xgbpatch.commands import _parallel
from xgbpatch.progress import Silent
from xgbpatch.publish import sbom
from xgbpatch.reference import ImageReference
from xgbpatch.registry import referrers
from xgbpatch.registry.images import load_image

FIXED = HandBase(patches=".1")
HOOKED = "sagemaker_xgboost_container/algorithm_mode/serve_utils.py"
DRIFTED = FIXED.with_module(HOOKED, "def predict(model,", "def predict(model, more,")


@pytest.fixture
def yard(tmp_path):
    with registry(tmp_path) as started:
        yield Yard(started, tmp_path)


def ended(session, seconds):
    """Whether no process of the session is left; multiprocessing's own tracker ends a moment after the last one."""
    deadline = time.monotonic() + seconds
    while found := subprocess.run(["pgrep", "--session", str(session)], capture_output=True, check=False).stdout:
        if time.monotonic() > deadline:
            print(found)
            return False
        time.sleep(0.1)
    return True


def outcomes(found):
    return {name: image["outcome"] for name, image in found.items()}


def test_only_what_is_behind_is_made_anew_and_in_the_order_of_the_file(yard):
    done, found = yard.run("--no-test")
    assert (done.returncode, outcomes(found)) == (0, dict.fromkeys(yard.names, "renewed")), done.stderr
    yard.move("fraud", FIXED)
    before = yard.loopback.writes()
    done, found = yard.run("--no-test")
    assert (done.returncode, outcomes(found)) == (0, {"churn": "current", "fraud": "renewed", "risk": "current"})
    assert list(found) == list(yard.names)
    assert yard.loopback.writes() > before
    image = load_image(yard.services.registry, ImageReference.parse(found["fraud"]["image"]))
    assert image.provenance.base_digest == found["fraud"]["base"].partition("@")[2]
    before = yard.loopback.writes()
    done, found = yard.run("--no-test")
    assert (done.returncode, set(outcomes(found).values())) == (0, {"current"})
    assert yard.loopback.writes() == before


def test_one_failure_and_one_drift_do_not_stop_the_third(yard):
    done, found = yard.run("--no-test")
    assert done.returncode == 0, done.stderr
    yard.lose("churn")
    yard.move("fraud", DRIFTED)
    yard.move("risk", FIXED)
    done, found = yard.run("--no-test", "--jobs", "1")
    assert outcomes(found) == {"churn": "failed", "fraud": "drifted", "risk": "renewed"}
    assert done.returncode == found["churn"]["exit_code"] == 4
    assert "gone" in found["churn"]["error"]
    assert any("predict" in reason for reason in found["fraud"]["reasons"])
    done, found = yard.run("--no-test", "--image", "fraud")
    assert (done.returncode, outcomes(found)) == (20, {"fraud": "drifted"})
    done, found = yard.run("--no-test", "--image", "fraud", "--accept-drift")
    assert (done.returncode, outcomes(found)) == (0, {"fraud": "renewed"}), done.stderr


def test_what_failed_and_what_drifted_is_told_whole_on_stderr(yard):
    assert yard.run("--no-test")[0].returncode == 0
    yard.lose("churn")
    yard.move("fraud", DRIFTED)
    told = yard.text("--no-test", "-q")
    assert [line.split()[:2] for line in told.stdout.splitlines()[1:]] == [
        ["churn", "failed"], ["fraud", "drifted"], ["risk", "current"],
    ]  # fmt: skip
    done, found = yard.run("--no-test", "-q")
    assert done.stderr == "", "the document tells it"
    assert f"churn: {found['churn']['error']}\n" in told.stderr
    assert all(f"fraud: {reason}\n" in told.stderr for reason in found["fraud"]["reasons"])
    assert "  +def predict(model, more, model_format, dtest, input_content_type" in told.stderr
    assert told.returncode == 4


def test_build_of_several_images_prints_one_document(yard):
    done = yard.text("--json", "-q", command="build")
    assert done.returncode == 0, done.stderr
    several = json.loads(done.stdout)["images"]
    assert [ImageReference.parse(image["image"]).repository.rpartition("/")[2] for image in several] == list(yard.names)
    done = yard.text("--json", "-q", "--image", "fraud", command="build")
    assert json.loads(done.stdout)["digest"] == several[1]["digest"]


def test_build_that_fails_tells_what_stands_already(yard):
    yard.lose("fraud")
    done = yard.text("--json", "-q", command="build")
    assert done.returncode == 4
    assert [image["up_to_date"] for image in json.loads(done.stdout)["images"]] == [False]
    assert yard.loopback.tags("risk") == []


def test_without_an_engine_nothing_untested_is_put_where_a_test_was_asked_for(yard):
    before = yard.loopback.writes()
    done, found = yard.run("--image", "fraud")
    assert (done.returncode, outcomes(found)) == (3, {"fraud": "failed"})
    assert yard.loopback.writes() == before


def test_an_alias_stays_where_it_is_without_a_test(yard):
    done, found = yard.run("--no-test", "--image", "fraud", "--alias", "prod")
    assert (done.returncode, found["fraud"]["aliases"], found["fraud"]["tested"]) == (0, [], False), done.stderr
    image = ImageReference.parse(found["fraud"]["image"])
    assert yard.loopback.tags("fraud") == sorted([image.tag, image.digest.replace(":", "-")]), "it, and its SBOM's list"
    (attached,) = referrers.attached(yard.services.registry, image, sbom.ARTIFACT_TYPE)
    document = json.loads(referrers.read(yard.services.registry, yard.services.blobs_of(image), attached))
    assert document["bomFormat"] == "CycloneDX"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_every_image_and_leaves_no_tag(yard, number, code):
    with stalling(yard.loopback.host, 0) as proxy:
        yard.write(proxy.host)
        process = subprocess.Popen(
            yard.words("--json", "--no-test", "--jobs", "3"), cwd=yard.folder, env=yard.environ(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert proxy.reached.wait(30)
        time.sleep(0.5)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert ended(process.pid, seconds=10), "a process of an image goes on"
    assert [yard.loopback.tags(name) for name in yard.names] == [[], [], []]


@pytest.mark.parametrize("how", SENT)
def test_a_process_that_is_killed_is_told_and_the_others_answer(how):
    answers = dict(_parallel.run_each(work, {"a": "x", "b": how, "c": "y"}, 2, Silent()))
    assert (answers["a"], answers["c"]) == ("xx", "yy")
    assert isinstance(answers["b"], _parallel.WorkerDied)
