"""AWS moves a base under its tag: `plan` finds it, `rebuild` follows, a base that changed what is hooked stops it."""

import contextlib
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bases import RUN_ID, TEST_BASE
from support.loopback_aws import ACCOUNT, REGION
from xgbpatch import catalogue
from xgbpatch.engine.client import Engine
from xgbpatch.progress import Silent
from xgbpatch.provenance import SPEC_DIGEST
from xgbpatch.reference import Credentials, ImageReference
from xgbpatch.standin.build import standin_reference

pytestmark = pytest.mark.skipif(bool(TEST_BASE), reason="moves the base of a registry of its own")
VERSION = "3.2-0"
REPOSITORY = f"upkeep-{RUN_ID}/fraud"
CONFIGURATION = f"""
version = "{VERSION}"
features = ["shap", "daal4py"]
repository = "{REPOSITORY}"
aliases = ["prod"]
"""
SECURITY_FIX = "echo fixed > /etc/a-security-fix"
HOOKED = "sagemaker_xgboost_container.algorithm_mode.serve_utils:predict"
CHANGE_OF_HOOKED = (
    "find / -path '*/algorithm_mode/serve_utils.py' -exec sed -i 's/^def predict(/def predict(more, /' {} +"
)


@pytest.fixture(scope="module")
def base() -> ImageReference:
    return catalogue.image_uri(VERSION, REGION)


@pytest.fixture(scope="module", autouse=True)
def own_images(engine) -> Iterator[None]:
    """What was built here goes from the engine."""
    yield
    for image in engine.images(SPEC_DIGEST):
        for name in image.tags:
            if name.startswith(f"{REPOSITORY}:"):
                engine.remove(name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("upkeep")
    (folder / "xgbpatch.toml").write_text(CONFIGURATION)
    return folder


@pytest.fixture(scope="module")
def run(cloud, folder):
    """`run(expected exit code, arguments…)` → stdout."""

    def command(code: int, *arguments: str) -> str:
        words = [sys.executable, "-m", "xgbpatch", *arguments]
        result = subprocess.run(words, env=cloud, cwd=folder, capture_output=True, text=True, check=False)
        assert result.returncode == code, result.stdout + result.stderr
        return result.stdout.strip()

    return command


@contextlib.contextmanager
def moved(engine: Engine, base: ImageReference, instruction: str) -> Iterator[str]:
    """The base's tag on another image for a while: the stand-in with one more layer; gives its digest."""
    credentials = Credentials("AWS", f"{base.ecr.account}-auth-token")
    standin = str(standin_reference(VERSION))
    image = engine.build(context(f"FROM {standin}\nRUN {instruction}\n"), "linux/amd64", Silent())
    try:
        yield put(engine, image.id, base, credentials)
    finally:
        put(engine, standin, base, credentials)


def put(engine: Engine, image: str, name: ImageReference, credentials: Credentials) -> str:
    engine.tag(image, name)
    try:
        return engine.push(name, credentials, Silent())
    finally:
        engine.remove(name)


def context(dockerfile: str) -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(dockerfile.encode())
        archive.addfile(entry, io.BytesIO(dockerfile.encode()))
    stream.seek(0)
    return stream


def test_a_patched_image_follows_its_base_and_stops_where_a_person_is_needed(engine, run, base):
    first = ImageReference.parse(run(0, "push", run(0, "build")))
    assert first.host == f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
    assert json.loads(run(0, "plan", "--json"))["images"][0]["state"] == "current"

    with moved(engine, base, SECURITY_FIX) as digest:
        planned = json.loads(run(10, "plan", "--json"))["images"][0]
        assert planned["state"] == "rebuild"
        assert digest in json.dumps(planned["reasons"])
        done = json.loads(run(0, "rebuild", "--builder", "registry", "--json"))["images"][0]
        second = ImageReference.parse(done["image"])
        assert second.digest != first.digest
        assert done["base"].endswith(digest)
        assert json.loads(run(0, "plan", "--json"))["images"][0]["base"].endswith(digest)
        assert json.loads(run(0, "rebuild", "--json"))["images"][0]["outcome"] == "current"
        assert_every_check_ran(json.loads(run(0, "promote", str(second), "--alias", "prod", "--json")))

    with moved(engine, base, CHANGE_OF_HOOKED) as digest:
        planned = json.loads(run(20, "plan", "--json"))["images"][0]
        assert planned["state"] == "drifted"
        assert HOOKED in json.dumps(planned["reasons"])
        assert json.loads(run(20, "rebuild", "--json"))["images"][0]["outcome"] == "drifted"
        run(20, "rebase", str(second), "--to", digest)
        accepted = run(0, "rebuild", "--accept-drift", "--no-test", "--no-scan-gate", "--json")
        assert json.loads(accepted)["images"][0]["base"].endswith(digest)
        assert HOOKED not in json.dumps(json.loads(run(10, "plan", "--json"))["images"][0]["reasons"]), "an alias waits"
    assert json.loads(run(0, "usage", "--json"))["behind"] == []
    document = json.loads(run(0, "prune", "--json"))
    assert {image["action"] for place in document["repositories"] for image in place["images"]} == {"keep"}


def assert_every_check_ran(promoted):
    """`rebuild` tested the image as a whole: what was left out is what it does not carry, or asks for another base."""
    assert not promoted["tested_now"]
    verdicts = promoted["test"]["checks"]
    skipped = {name for name, verdict in verdicts.items() if verdict == "skipped"}
    skipped -= {"shap.vote", "serve.unlisted-objective"}
    groups = {name.partition(".")[0] for name in skipped}
    assert groups - {"base"} == {"fix", "training", "shap-probability", "json-input", "fast"}, (
        "what this image does not carry"
    )
    assert list(verdicts.values()).count("passed") > 50
    assert "failed" not in verdicts.values()
