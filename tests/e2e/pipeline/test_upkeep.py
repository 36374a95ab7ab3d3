"""docs/how-to/push-and-keep-current.md as it stands, where AWS moves a base under its tag: `plan` finds it, `rebuild`
follows. And a base that changed what is hooked stops it.

The three commands of README.md and docs/index.md are this guide's, with its settings as options; so is the use of the
sandbox in docs/sandbox.md. `test-local` runs whole; of `rebuild`'s own test only some checks do.
"""

import contextlib
import io
import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from support.bases import TEST_BASE
from support.commands import xgbpatch
from support.documentation import blocks, commands, run_by
from support.layers import tar_of
from support.loopback_aws import ACCOUNT, REGION, UPKEEP_REPOSITORY
from xgbpatch import catalogue, contract
from xgbpatch.cli import cli
from xgbpatch.engine.client import Engine
from xgbpatch.progress import Silent
from xgbpatch.provenance import SPEC_DIGEST
from xgbpatch.reference import Credentials, ImageReference
from xgbpatch.standin.build import standin_reference

pytestmark = pytest.mark.skipif(bool(TEST_BASE), reason="moves the base of a registry of its own")
VERSION = "3.2-0"
GUIDE = "docs/how-to/push-and-keep-current.md"
REBUILT = ("image", "train.model")  # checks of `rebuild`: a container, but no server for the same patch again
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
            if name.startswith(f"{UPKEEP_REPOSITORY}:"):
                engine.remove(name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("upkeep")


@pytest.fixture(scope="module")
def run(cloud, folder):
    """`run(expected exit code, arguments…)` → stdout."""

    def command(code: int, *arguments: str) -> str:
        result = xgbpatch(*arguments, environment=cloud, folder=folder)
        assert result.returncode == code, result.stdout + result.stderr
        return result.stdout.strip()

    return command


@pytest.fixture
def typed(run):
    """`typed(block's commands)` → what each printed."""

    def block(lines: list[list[str]]) -> list[str]:
        assert {words[0] for words in lines} == {"xgbpatch"}
        return [run(0, *words[1:]) for words in lines]

    return block


@pytest.fixture
def in_process(cloud, folder, monkeypatch, capfd):
    """`in_process(checks, arguments…)` → stdout of a command whose test-local makes these checks."""

    def command(checks: tuple[str, ...], *arguments: str) -> str:
        with monkeypatch.context() as patch:
            for name, value in cloud.items():
                patch.setenv(name, value)
            patch.chdir(folder)
            patch.setattr(contract, "Options", partial(contract.Options, checks=checks))
            capfd.readouterr()
            with pytest.raises(SystemExit) as caught:
                cli.main(list(arguments), standalone_mode=False)
            output = capfd.readouterr()
        assert caught.value.code == 0, output.out + output.err
        return output.out.strip()

    return command


def blocks_of(page: str) -> list[list[list[str]]]:
    """The commands of each block that this test runs, with names that nobody else has on this engine."""
    return [[[_here(word) for word in words] for words in commands(block.script)] for block in run_by(__file__, page)]


def _here(text: str) -> str:
    for name, own in {"ml/sagemaker-xgboost": UPKEEP_REPOSITORY, "us-west-2": REGION, "123456789012": ACCOUNT}.items():
        text = text.replace(name, own)
    return text


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
    return io.BytesIO(tar_of([("Dockerfile", dockerfile.encode())]))


@pytest.fixture
def first(typed, folder):
    """The guide's image, as it was first pushed."""
    init, three, *_ = blocks_of(GUIDE)
    typed(init)
    (settings,) = (block.text for block in blocks("toml") if block.of == GUIDE)
    (folder / "xgbpatch.toml").write_text(_here(settings))
    built, tested, pushed = typed(three)
    assert_every_check_ran(dict(re.findall(r"(?m)^(?=(?:\w+) +(\S+))(passed|skipped|failed)\b", tested)))
    for page in ("README.md", "docs/index.md", "docs/sandbox.md"):
        ((build, *rest),) = blocks_of(page)
        assert typed([build]) == [built], page
        assert rest in (three[1:], three[2:]), page
    (further,) = blocks_of("docs/upkeep.md")
    assert typed(further) == [pushed] * 2
    return ImageReference.parse(pushed)


def test_a_patched_image_follows_its_base_and_stops_where_a_person_is_needed(
    engine, run, typed, in_process, base, first
):
    _, _, (plan, rebuild), *others = blocks_of(GUIDE)
    assert first.host == f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
    assert "current" in run(0, *plan[1:])

    with moved(engine, base, SECURITY_FIX) as digest:
        planned = json.loads(run(10, "plan", "--json"))["images"][0]
        assert planned["state"] == "rebuild"
        assert digest in json.dumps(planned["reasons"])
        in_process(REBUILT, *rebuild[1:])
        current = json.loads(run(0, "plan", "--json"))["images"][0]
        second = ImageReference.parse(current["published"])
        assert second.digest != first.digest
        assert current["base"].endswith(digest)
        assert json.loads(run(0, "rebuild", "--json"))["images"][0]["outcome"] == "current"
        for block in others:  # the endpoints, and back to the first
            typed(block)
        promoted = json.loads(run(0, "promote", str(second), "--alias", "fraud-prod", "--json"))
        assert not promoted["tested_now"]
        assert set(promoted["test"]["checks"].values()) == {"passed"}

    with moved(engine, base, CHANGE_OF_HOOKED) as digest:
        planned = json.loads(run(20, "plan", "--json"))["images"][0]
        assert planned["state"] == "drifted"
        assert HOOKED in json.dumps(planned["reasons"])
        assert json.loads(run(20, "rebuild", "--json"))["images"][0]["outcome"] == "drifted"
        run(20, "rebase", str(second), "--to", digest)
        accepted = run(0, "rebuild", "--builder", "registry", "--accept-drift", "--no-test", "--no-scan-gate", "--json")
        assert json.loads(accepted)["images"][0]["base"].endswith(digest)
        assert HOOKED not in json.dumps(json.loads(run(10, "plan", "--json"))["images"][0]["reasons"]), "an alias waits"
    assert json.loads(run(0, "usage", "--json"))["behind"] == []
    document = json.loads(run(0, "prune", "--json"))
    assert {image["action"] for place in document["repositories"] for image in place["images"]} == {"keep"}


def assert_every_check_ran(verdicts: dict[str, str]) -> None:
    """What was left out is what the image does not carry, or asks for another base."""
    skipped = {name for name, verdict in verdicts.items() if verdict == "skipped"}
    skipped -= {"shap.vote", "serve.unlisted-objective"}
    groups = {name.partition(".")[0] for name in skipped}
    assert groups - {"base"} == {"daal4py", "fix", "training", "shap-probability", "json-input", "fast"}
    assert list(verdicts.values()).count("passed") > 50
    assert "failed" not in verdicts.values()
