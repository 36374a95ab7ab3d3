"""examples/abalone as a notebook, from top to bottom in a fresh kernel, with a real image; its outputs looked at.

The notebook is made as docs/tutorial.md says, of the file that it also tells to run.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest

from support.documentation import commands, run_by

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "abalone"
VERSION = os.environ.get("XGBPATCH_TEST_VERSION", "3.2-0")
FEATURES = 8
ROWS = 626  # of the test split
TOLERANCE = 1e-4  # rings, of shap's values
ADDITIVITY = 1e-4  # rings


@pytest.mark.group("notebook")
def test_the_notebook_runs_and_its_values_are_those_of_shap(patched, tmp_path):
    import papermill
    from matplotlib.image import imread

    example = shutil.copytree(EXAMPLE, tmp_path / "examples/abalone")
    ((words,),) = ([*commands(block.script)] for block in run_by(__file__, "examples/abalone/README.md"))
    run_it, make_notebook = ([*commands(block.script)] for block in run_by(__file__, "docs/tutorial.md"))
    assert run_it == [["python", words[-1]]]  # the same file as a program
    assert make_notebook == [words]
    subprocess.run([Path(sys.executable).with_name(words[0]), *words[1:]], cwd=tmp_path, check=True)
    notebook, executed, output = example / "walkthrough.ipynb", tmp_path / "executed.ipynb", tmp_path / "output"
    image = str(patched(VERSION, "shap").reference)
    papermill.execute_notebook(
        notebook, executed, {"version": VERSION, "image": image, "output": str(output)},
        cwd=example, kernel_name="python3", progress_bar=False, start_timeout=600,
    )  # fmt: skip
    cells = json.loads(executed.read_text())["cells"]
    assert [cell["execution_count"] is None for cell in cells if cell["cell_type"] == "code"].count(True) == 0
    outputs = [each for cell in cells for each in cell.get("outputs", ())]
    printed = "".join("".join(each["text"]) for each in outputs if each.get("name") == "stdout")

    explained = np.loadtxt(output / "transform/test.csv.out", delimiter=",")
    assert explained.shape == (ROWS, 2 + FEATURES)
    assert np.abs(explained[:, 1:].sum(axis=1) - explained[:, 0]).max() < ADDITIVITY
    assert "multi-model endpoint equals batch transform: True" in printed
    differences = re.findall(r"^(.*): differs by (\S+) rings at most$", printed, re.M)
    assert [name for name, _ in differences] == ["shap's own code", "xgboost, by shap", "base value"]
    assert max(float(value) for _, value in differences) < TOLERANCE

    shown = [b64decode(each["data"]["image/png"]) for each in outputs if "image/png" in each.get("data", ())]
    drawn = [path.read_bytes() for path in (*output.glob("*.png"), *output.glob("pictures/*.png"))]
    assert (len(shown), len(drawn)) == (2, 13)
    for picture in (*shown, *drawn):
        pixels = (imread(io.BytesIO(picture)) * 255).round().astype(np.uint8)
        colours = pixels.reshape(-1, 4).view(np.uint32)  # one number a pixel, because rows are slow to sort
        drawn_on = (colours != colours[0]).mean()  # the first one is background
        assert drawn_on > 0.01
        assert len(np.unique(colours)) > 10
    assert "in all 626 rows" in (output / "report.html").read_text()
