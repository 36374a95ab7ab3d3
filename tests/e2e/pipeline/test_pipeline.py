"""The main job through the command line, on an AWS on loopback: build, test-local, push, pull, serve."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.bases import LONG, RUN_ID, TEST_BASE, chosen
from support.documentation import run_by
from support.loopback_aws import ACCOUNT, PAGES_REPOSITORY, PIPELINE_REPOSITORY, REGION
from xgbpatch.engine.types import Mount, Run
from xgbpatch.progress import Silent
from xgbpatch.reference import Credentials, ImageReference

pytestmark = [
    pytest.mark.parametrize("version", chosen(), scope="module"),  # one sandbox for all of them
]
ROOT = Path(__file__).resolve().parents[3]

# The other comparisons with the base: test_checks.py sees them pass, test_differential.py asks such servers far more.
CHECKS = ("image", "base") if LONG else ("image", "base.plain", "base.multi-model")


def words(version: str, features: str) -> list[str]:
    """What is built, as `build` takes it."""
    base = ["--base-image", TEST_BASE] if TEST_BASE else []
    return ["--version", version, "--feature", features, "--repository", PIPELINE_REPOSITORY, *base]


@pytest.fixture(scope="module")
def built(engine, xgbpatch, version):
    """The image that `build` printed, with both features."""
    image = xgbpatch("build", *words(version, "shap,daal4py"))
    yield image
    engine.remove(image)


@pytest.fixture(scope="module")
def pushed(xgbpatch, built):
    return ImageReference.parse(xgbpatch("push", built, "--alias", "prod"))


def test_the_base_was_pinned_by_the_digest_its_registry_names(xgbpatch, built, version):
    labels = json.loads(xgbpatch("inspect", built, "--json"))["provenance"]
    assert labels["base_digest"][7:19] in built
    if not TEST_BASE:
        assert labels["base_name"].endswith(f".dkr.ecr.{REGION}.amazonaws.com/sagemaker-xgboost:{version}")


def test_building_again_is_up_to_date(xgbpatch, built, version):
    again = json.loads(xgbpatch("build", *words(version, "daal4py,shap"), "--json"))
    assert again["up_to_date"]
    assert again["image"] == built


def test_it_keeps_sagemakers_contract_and_answers_as_its_base(xgbpatch, built):
    """Comparisons with the base; what asks for none runs on the image of test_upkeep.py, which `rebuild` tests."""
    # `--against-base` would add the comparisons that are not named.
    against = ["--base", TEST_BASE] if TEST_BASE else []
    checks = [word for name in CHECKS for word in ("--check", name)]
    report = json.loads(xgbpatch("test-local", built, *against, *checks, "--json"))
    verdicts = {check["name"]: check["verdict"] for check in report["checks"]}
    assert set(verdicts.values()) == {"passed"}
    assert {name.partition(".")[0] for name in verdicts} == {name.partition(".")[0] for name in CHECKS}


def test_a_further_tag_names_the_same_image(engine, xgbpatch, built, version):
    further = f"xgbpatch-tests/further-{RUN_ID}:candidate"
    xgbpatch("build", *words(version, "shap,daal4py"), "--tag", further)
    try:
        assert engine.image(further).id == engine.image(built).id
    finally:
        engine.remove(ImageReference.parse(further))


def test_push_prints_the_name_by_digest(built, pushed):
    assert pushed.host == f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
    assert pushed.digest.startswith("sha256:")
    assert pushed.repository == ImageReference.parse(built).repository


def test_pushing_again_sends_nothing(xgbpatch, built, pushed):
    document = json.loads(xgbpatch("push", built, "--json"))
    again = document["pushed"][0]
    assert again["up_to_date"]
    assert again["reference"] == str(pushed)


def of_page(page):
    """Its blocks that this test has to run, as one script."""
    return "".join(block.script for block in run_by(__file__, page))


def in_a_shell(script, cloud, folder, **environment):
    """stdout of a script that must succeed, with `xgbpatch` on its path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{cloud['PATH']}"
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], env={**cloud, "PATH": path, **environment}, cwd=folder,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_commands_of_the_pages_build_that_image_and_look_at_its_base(cloud, tmp_path, built, version):
    """With this file's repository, where it is there already."""
    if TEST_BASE or version != "3.2-0":
        pytest.skip("the page names 3.2-0 in a registry")
    printed = in_a_shell(of_page("docs/features.md"), cloud, tmp_path, XGBPATCH_REPOSITORY=PIPELINE_REPOSITORY)
    assert printed.splitlines()[-1] == built
    printed = in_a_shell(of_page("docs/commands.md"), cloud, tmp_path)
    assert re.search(r"(?m)^FROM \S+/sagemaker-xgboost\S*@sha256:", printed), "render"
    assert re.search(r"(?m)^xgboost +3\.2\.0", printed), "inspect"


PICKLED = """
import numpy, pickle, xgboost
x = numpy.random.RandomState(0).rand(60, 3)
pickle.dump(xgboost.train({"max_depth": 2}, xgboost.DMatrix(x, x[:, 0]), 3), open("/out/model.pkl", "wb"))
"""


def test_a_pickle_is_opened_in_the_official_image_of_its_version(cloud, engine, base_of, tmp_path, version):
    if TEST_BASE:
        pytest.skip("it is pulled from AWS's registry")
    run = Run(base_of(version), ("-c", PICKLED), entrypoint=("python",), mounts=(Mount(tmp_path, "/out"),))
    assert engine.run(run).exit_code == 0
    in_a_shell(of_page("docs/convert-model.md").replace("us-west-2", REGION), cloud, tmp_path)
    assert json.loads((tmp_path / "model.json").read_text())["learner"]["gradient_booster"]["name"] == "gbtree"


@pytest.mark.parametrize(("number", "ending"), [(0, ""), (1, " current")], ids=["engine", "registry"])
def test_the_library_examples_run_as_they_stand(cloud, tmp_path, version, number, ending):
    """But for the name of an image in the engine, where another run builds the same."""
    if TEST_BASE or version != "3.2-0":
        pytest.skip("the examples name 3.2-0 in a registry")
    text = (ROOT / "docs/library.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", text, re.S)[number]
    code, changes = re.subn(r'features=\("shap",\)\)', f'features=("shap",), repository="{PAGES_REPOSITORY}")', code)
    assert changes == (number == 0)
    result = subprocess.run(
        [sys.executable, "-c", code], env=cloud, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    name = rf"{ACCOUNT}\.dkr\.ecr\.{REGION}\.amazonaws\.com/.+@sha256:[0-9a-f]{{64}}"
    assert re.fullmatch(rf"{name}{ending}\n", result.stdout)


def test_the_pushed_image_pulls_back_as_the_one_that_was_tested(engine, pushed, built):
    tested = engine.image(built).id
    engine.remove(built)
    image = engine.pull(pushed, Credentials("AWS", f"{ACCOUNT}-auth-token"), Silent())
    engine.tag(image.id, ImageReference.parse(built))
    assert image.id == tested
