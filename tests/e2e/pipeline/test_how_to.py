"""The how-to guides, run as they stand: a shell gets the blocks of a page one after the other, on an AWS on loopback.

Which blocks are left out is said below; tests/unit/test_documented_commands.py looks at these, and at all other pages.
Requests to SageMaker (in Python) are not sent: it holds them to AWS's service models.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.bases import RUN_ID, TEST_BASE
from support.documentation import ROOT, SHELL, blocks
from support.registries import free_port
from xgbpatch.engine.types import Mount, Run

VERSION = "3.2-0"
LEFT_OUT = {  # pages of docs/how-to that are run, and the words of blocks that are not
    "shap-endpoint.md": (),
    "batch-transform.md": (),
    "multi-model.md": (),
    "json-input.md": ("--feature json-input,training",),  # the same command with another feature
    "own-code.md": (
        "category_encoders",
        "--feature shap",
        "--feature training",
    ),  # tests/engine has each of these builds
    "faster-inference.md": ("xgbpatch bench", "--feature daal4py"),  # likewise
}
NOT_RUN = {  # and those of which other tests run the commands, with other names of images
    "bench.md": "tests/engine/test_bench.py",
    "push-and-keep-current.md": "tests/e2e/pipeline/test_upkeep.py, tests/e2e/test_ci_steps.py",
    "README.md": "has no commands",
}
EXPECTED = {  # what the page says that one sees
    "shap-endpoint.md": r"(?m)^(-?[\d.e-]+,){9}-?[\d.e-]+$",
    "batch-transform.md": r"(?m)^ *3 rows\.csv\n *3 rows\.csv\.out$",
    "multi-model.md": r"(?m)^(-?[\d.e-]+,){9}-?[\d.e-]+$",
    "json-input.md": r"(?m)^\d+\.\d+$",
    "own-code.md": r"(?m)^\[\[2, 4\]\]$",
    "faster-inference.md": r"The feature fast: proved on \d+ rows",
}
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
    made = engine.run(run)
    assert made.exit_code == 0, made.stderr
    return folder


def test_every_guide_is_run_or_said_not_to_be():
    assert {path.name for path in (ROOT / "docs/how-to").iterdir()} == set(LEFT_OUT) | set(NOT_RUN)
    assert set(EXPECTED) == set(LEFT_OUT)


@pytest.mark.skipif(bool(TEST_BASE), reason="the pages name an official version")
@pytest.mark.parametrize("page", LEFT_OUT)
def test_a_guide_runs_as_it_stands(cloud, model, tmp_path, page):
    parts = [block.script for block in blocks(*SHELL) if block.page == ROOT / "docs/how-to" / page]
    chosen = [part for part in parts if not any(words in part for words in LEFT_OUT[page])]
    assert len(chosen) == len(parts) - len(LEFT_OUT[page])
    script = _on_a_shared_machine("".join(chosen))
    for name in ("model.tar.gz", "rows.csv"):
        (tmp_path / name).write_bytes((model / name).read_bytes())
    environment = {**cloud, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{cloud['PATH']}"}
    command = ["bash", "-euo", "pipefail", "-c", script]
    try:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    finally:
        for name in _names(script):
            subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(EXPECTED[page], done.stdout), done.stdout


def _names(script: str) -> list[str]:
    return re.findall(r"--name (\S+)", script)


def _on_a_shared_machine(script: str) -> str:
    """With a port and names that nobody else has."""
    for name in _names(script):
        script = re.sub(rf"(--name|docker logs|docker rm --force) {name}\b", rf"\1 {name}-{RUN_ID}", script)
    return script.replace("127.0.0.1:8080", f"127.0.0.1:{free_port()}")
