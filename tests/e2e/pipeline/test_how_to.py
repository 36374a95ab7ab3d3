"""The how-to guides, run as they stand: a shell gets the blocks of a page one after the other, on an AWS on loopback.

Which blocks, and why not the others, stands in support/documented_commands.toml. Requests to SageMaker (in Python) are
not sent: tests/unit/test_documented_commands.py holds them to AWS's service models.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.bases import RUN_ID, TEST_BASE
from support.documentation import ROOT, run_by
from support.loopback_aws import PAGES_REPOSITORY
from support.registries import free_port
from xgbpatch.engine.types import Mount, Run

VERSION = "3.2-0"
EXPECTED = {  # what the page says that one sees
    "docs/how-to/shap-endpoint.md": r"(?m)^(-?[\d.e-]+,){9}-?[\d.e-]+$",
    "docs/how-to/batch-transform.md": r"(?m)^ *3 rows\.csv\n *3 rows\.csv\.out$",
    "docs/how-to/multi-model.md": r"(?m)^(-?[\d.e-]+,){9}-?[\d.e-]+$",
    "docs/how-to/json-input.md": r"(?m)^\d+\.\d+$",
    "docs/how-to/own-code.md": r"(?m)^\[\[2, 4\]\]$",
    "docs/how-to/faster-inference.md": r"The feature fast: proved on \d+ rows",
}
MEANWHILE = {  # pages that ask the container of another one, before that page removes it
    "docs/how-to/shap-endpoint.md": ("docs/explanation/engines.md", r"SHAP values by native: proved on \d+ rows"),
}
AFTERWARDS = {  # pages that go on from the image of another one, and what they leave
    "docs/how-to/shap-endpoint.md": ("examples/script-mode/README.md", "source.tar.gz"),
}
FRUGAL = ("SAGEMAKER_MODEL_SERVER_WORKERS=1", "OMP_WAIT_POLICY=passive")
MODEL = """
import numpy, tarfile, xgboost
random = numpy.random.RandomState(0)
rows = random.rand(200, 8).astype("float32")
options = {"objective": "reg:squarederror", "max_depth": 3, "nthread": 1}
xgboost.train(options, xgboost.DMatrix(rows, rows[:, 0] * 9 + 1), 5).save_model("/made/xgboost-model")
with tarfile.open("/made/model.tar.gz", "w:gz") as packed:
    packed.add("/made/xgboost-model", "xgboost-model")
numpy.savetxt("/made/rows.csv", rows[:3], delimiter=",", fmt="%.4f")
"""


@pytest.fixture(scope="module")
def model(engine, base_of, tmp_path_factory):
    """A folder with what the pages start from: `model.tar.gz` of the base's own xgboost, and `rows.csv`."""
    folder = tmp_path_factory.mktemp("model")
    run = Run(base_of(VERSION), ("-c", MODEL), entrypoint=("python",), mounts=(Mount(folder, "/made"),))
    result = engine.run(run)
    assert result.exit_code == 0, result.stderr
    return folder


def test_each_page_of_this_test_says_what_one_sees():
    assert {block.of for block in run_by(__file__)} == {
        *EXPECTED,
        *(page for page, _ in (*MEANWHILE.values(), *AFTERWARDS.values())),
    }


@pytest.mark.skipif(bool(TEST_BASE), reason="the pages name an official version")
@pytest.mark.parametrize("page", EXPECTED)
def test_a_guide_runs_as_it_stands(cloud, model, tmp_path, page):
    script = "".join(block.script for block in run_by(__file__, page))
    other, expected = MEANWHILE.get(page, ("", ""))
    if other:
        start, removal, end = script.rpartition("docker rm ")
        script = start + "".join(block.script for block in run_by(__file__, other)) + removal + end
    last, left = AFTERWARDS.get(page, ("", "rows.csv"))
    script = _on_a_shared_machine(script + "".join(block.script for block in run_by(__file__, last) if last))
    for name in ("model.tar.gz", "rows.csv"):
        (tmp_path / name).write_bytes((model / name).read_bytes())
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = {
        **cloud,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{cloud['PATH']}",
        "XGBPATCH_REPOSITORY": PAGES_REPOSITORY,  # another run on this engine builds the same pages
    }
    command = ["bash", "-euo", "pipefail", "-c", script]
    try:
        completed = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    finally:
        for name in _names(script):
            subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert re.search(EXPECTED[page], completed.stdout), completed.stdout
    assert re.search(expected, completed.stdout), completed.stdout
    assert (tmp_path / left).stat().st_size > 0


def _names(script: str) -> list[str]:
    return re.findall(r"--name (\S+)", script)


def _on_a_shared_machine(script: str) -> str:
    """With a port and names that nobody else has, and servers of one worker whose idle threads sleep."""
    for name in _names(script):
        script = re.sub(rf"(--name|docker logs|docker rm --force) {name}\b", rf"\1 {name}-{RUN_ID}", script)
    script = script.replace(
        "docker run --detach", " ".join(["docker run --detach", *(f"--env {each}" for each in FRUGAL)])
    )
    return script.replace("127.0.0.1:8080", f"127.0.0.1:{free_port()}")
