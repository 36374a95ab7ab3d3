"""`rebuild` renews what `plan` calls behind: each image by itself, aliases last."""

import json
import os
import signal
import subprocess
import time

import pytest

from support.commands import command_line
from support.dying_process import SENT, work
from support.handmade_bases import HandBase
from support.rebuilding import ImageRepository
from support.registries import registry
from support.servers import stalling
from xgbpatch import cache
from xgbpatch.commands import _parallel
from xgbpatch.progress import Silent
from xgbpatch.publish import sbom
from xgbpatch.reference import ImageReference
from xgbpatch.registry import referrers
from xgbpatch.registry.client import load_image

FIXED = HandBase(patches=".1")
HOOKED = "sagemaker_xgboost_container/algorithm_mode/serve_utils.py"
DRIFTED = FIXED.with_module(HOOKED, "def predict(model,", "def predict(model, more,")


@pytest.fixture
def image_repository(tmp_path):
    with registry(tmp_path) as started:
        yield ImageRepository(started, tmp_path)


def ended(session, seconds):
    """Whether no process of the session is left; multiprocessing's own tracker ends a moment after the last one."""
    deadline = time.monotonic() + seconds
    while ids := subprocess.run(["pgrep", "--session", str(session)], capture_output=True, check=False).stdout:
        if time.monotonic() > deadline:
            print(ids)
            return False
        time.sleep(0.1)
    return True


def outcomes(images):
    return {name: image["outcome"] for name, image in images.items()}


def test_only_what_is_behind_is_made_anew_and_in_the_order_of_the_file(image_repository):
    completed, images = image_repository.run("--no-test")
    assert (completed.returncode, outcomes(images)) == (0, dict.fromkeys(image_repository.names, "renewed")), (
        completed.stderr
    )
    image_repository.move("fraud", FIXED)
    before = image_repository.loopback.writes()
    completed, images = image_repository.run("--no-test")
    assert (completed.returncode, outcomes(images)) == (0, {"churn": "current", "fraud": "renewed", "risk": "current"})
    assert list(images) == list(image_repository.names)
    assert image_repository.loopback.writes() > before
    image = load_image(image_repository.services.registry, ImageReference.parse(images["fraud"]["image"]))
    assert image.provenance.base_digest == images["fraud"]["base"].partition("@")[2]
    before = image_repository.loopback.writes()
    completed, images = image_repository.run("--no-test", "--image", "fraud")
    assert (completed.returncode, outcomes(images)) == (0, {"fraud": "current"})
    assert image_repository.loopback.writes() == before


def test_one_failure_and_one_drift_do_not_stop_the_third(image_repository):
    image_repository.publish()
    image_repository.lose("churn")
    image_repository.move("fraud", DRIFTED)
    image_repository.move("risk", FIXED)
    completed, images = image_repository.run("--no-test", "--jobs", "1")
    assert outcomes(images) == {"churn": "failed", "fraud": "drifted", "risk": "renewed"}
    assert completed.returncode == images["churn"]["exit_code"] == 4
    assert "gone" in images["churn"]["error"]
    assert any("predict" in reason for reason in images["fraud"]["reasons"])
    completed, images = image_repository.run("--no-test", "--image", "fraud")
    assert (completed.returncode, outcomes(images)) == (20, {"fraud": "drifted"})
    completed, images = image_repository.run("--no-test", "--image", "fraud", "--accept-drift")
    assert (completed.returncode, outcomes(images)) == (0, {"fraud": "renewed"}), completed.stderr


def test_what_failed_and_what_drifted_is_told_whole_on_stderr(image_repository):
    image_repository.publish()
    image_repository.lose("churn")
    image_repository.move("fraud", DRIFTED)
    plain = image_repository.text("--no-test", "-q")
    assert [line.split() for line in plain.stdout.partition("\n\n")[0].splitlines()[1:]] == [
        ["churn", "failed"], ["fraud", "drifted"], ["risk", "current"],
    ]  # fmt: skip
    completed, images = image_repository.run("--no-test", "-q")
    assert completed.stderr == "", "the document tells it"
    assert plain.stderr.startswith(f"churn: {images['churn']['error']}\n  {images['churn']['next_step']}\n")
    assert (plain.stdout + plain.stderr).count(images["churn"]["error"]) == 1
    assert f"\nrisk: {images['risk']['image']}\n" in plain.stdout, "whole, to be copied"
    assert all(f"fraud: {reason}\n" in plain.stderr for reason in images["fraud"]["reasons"])
    assert "  +def predict(model, more, model_format, dtest, input_content_type" in plain.stderr
    assert plain.returncode == 4


def test_build_of_several_images_prints_one_document(image_repository):
    completed = image_repository.text("--json", "-q", command="build")
    assert completed.returncode == 0, completed.stderr
    several = json.loads(completed.stdout)["images"]
    assert [ImageReference.parse(image["image"]).repository.rpartition("/")[2] for image in several] == list(
        image_repository.names
    )
    completed = image_repository.text("--json", "-q", "--image", "fraud", command="build")
    assert json.loads(completed.stdout)["digest"] == several[1]["digest"]
    (last_build,) = (image_repository.folder / "cache" / "xgbpatch" / "last-build").iterdir()
    assert cache.read(last_build, lambda document: document["images"]) == [], (
        "none is in the engine, where `push` would find it"
    )


def test_build_says_which_models_a_move_leaves_behind(image_repository):
    for version, warned in (("1.5-1", False), ("3.2-0", True), ("3.2-0", False)):
        completed = image_repository.text("--image", "fraud", "--version", version, command="build")
        assert completed.returncode == 0, completed.stderr
        assert ("does not load binary models" in completed.stderr) is warned


def test_build_that_fails_tells_what_stands_already(image_repository):
    image_repository.lose("fraud")
    completed = image_repository.text("--json", "-q", command="build")
    assert completed.returncode == 4
    assert [image["up_to_date"] for image in json.loads(completed.stdout)["images"]] == [False]
    assert image_repository.loopback.tags("risk") == []


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "text"])
def test_build_whose_image_is_not_signed_tells_that_it_stands(image_repository, tmp_path, monkeypatch, as_json):
    cosign = tmp_path / "cosign"
    cosign.write_text("#!/bin/sh\nexit 1\n")
    cosign.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    options = ("--json",) if as_json else ()
    completed = image_repository.text("--image", "fraud", "--sign", *options, command="build")
    assert completed.returncode == 15, completed.stderr
    reference = ImageReference.parse(json.loads(completed.stdout)["image"] if as_json else completed.stdout.strip())
    assert image_repository.services.registry.head(reference.pinned) is not None


def test_image_that_is_not_signed_stands_and_is_the_one_that_is_told(image_repository, tmp_path, monkeypatch):
    _, first = image_repository.run("--image", "fraud", "--no-test")
    image_repository.move("fraud", FIXED)
    cosign = tmp_path / "cosign"
    cosign.write_text("#!/bin/sh\nexit 1\n")
    cosign.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    completed, images = image_repository.run("--image", "fraud", "--no-test", "--sign")
    assert (completed.returncode, images["fraud"]["outcome"]) == (15, "failed"), completed.stderr
    assert images["fraud"]["image"] != first["fraud"]["image"]
    image = load_image(image_repository.services.registry, ImageReference.parse(images["fraud"]["image"]))
    assert image.provenance.base_digest == images["fraud"]["base"].partition("@")[2]


def test_without_an_engine_nothing_untested_is_put_where_a_test_was_asked_for(image_repository):
    before = image_repository.loopback.writes()
    completed, images = image_repository.run("--image", "fraud")
    assert (completed.returncode, outcomes(images)) == (3, {"fraud": "failed"})
    assert image_repository.loopback.writes() == before


def test_an_alias_stays_where_it_is_without_a_test(image_repository):
    completed, images = image_repository.run("--no-test", "--image", "fraud", "--alias", "prod")
    assert (completed.returncode, images["fraud"]["aliases"], images["fraud"]["tested"]) == (0, [], False), (
        completed.stderr
    )
    image = ImageReference.parse(images["fraud"]["image"])
    assert image_repository.loopback.tags("fraud") == sorted([image.tag, image.digest.replace(":", "-")]), (
        "it, and its SBOM's list"
    )
    (attached,) = referrers.attached(image_repository.services.registry, image, sbom.ARTIFACT_TYPE)
    document = json.loads(
        referrers.read(image_repository.services.registry, image_repository.services.blobs_of(image), attached)
    )
    assert document["bomFormat"] == "CycloneDX"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_every_image_and_leaves_no_tag(image_repository, number, code):
    with stalling(image_repository.loopback.host, 0) as proxy:
        image_repository.write(proxy.host)
        process = subprocess.Popen(
            command_line(*image_repository.arguments("--json", "--no-test", "--jobs", "3")),
            cwd=image_repository.folder, env=image_repository.environ(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert all(proxy.stalls.acquire(timeout=120) for _ in image_repository.names), "an image never began"
        process.send_signal(number)
        _, stderr = process.communicate(timeout=120)
    assert process.returncode == code, stderr
    assert ended(process.pid, seconds=120), "a process of an image goes on"
    assert [image_repository.loopback.tags(name) for name in image_repository.names] == [[], [], []]


@pytest.mark.parametrize("how", SENT)
def test_a_process_that_is_killed_is_told_and_the_others_answer(how):
    answers = dict(_parallel.run_each(work, {"a": "x", "b": how, "c": "y"}, 2, Silent()))
    assert (answers["a"], answers["c"]) == ("xx", "yy")
    assert isinstance(answers["b"], _parallel.WorkerDied)
