"""The example of the README: a picture of SHAP values, from a real endpoint on a real image."""

import os
import re
import runpy
import struct
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "abalone"
README_PICTURE = EXAMPLE.parents[1] / "docs" / "abalone.png"


@pytest.fixture(scope="module")
def picture():
    return runpy.run_path(str(EXAMPLE / "picture.py"))


def bars(picture, waterfall):
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    picture["_panel"](axes, waterfall)
    return [(bar.get_x(), bar.get_x() + bar.get_width(), bar.get_facecolor()) for bar in axes.patches]


def size(path):
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n")
    return struct.unpack(">II", content[16:24])


def test_bars_lead_from_the_base_value_to_the_prediction_weakest_first(picture):
    from matplotlib.colors import to_rgba

    steps = [picture["Step"](*step) for step in (("a", -2.0), ("b", 0.5), ("c", 3.0))]
    found = bars(picture, picture["Waterfall"]("title", 10.0, steps))
    raises, lowers = to_rgba(picture["RAISES"]), to_rgba(picture["LOWERS"])
    assert found == [(10.0, 10.5, raises), (10.5, 8.5, lowers), (8.5, 11.5, raises)]


def test_the_picture_of_the_readme_is_small_and_of_three_panels(picture):
    width, height = (side * picture["DOTS_PER_INCH"] for side in picture["PANEL"])
    assert README_PICTURE.stat().st_size < 150_000
    assert size(README_PICTURE) == (round(3 * width), round(height))


@pytest.mark.engine
@pytest.mark.timeout(300)
def test_predictions_of_a_real_image_are_printed_and_drawn(patched, picture, tmp_path):
    image = patched(os.environ.get("XGBPATCH_TEST_VERSION", "3.2-0"), "shap").reference
    path = tmp_path / "abalone.png"
    done = subprocess.run(
        [sys.executable, EXAMPLE / "predict.py", str(image), path],
        capture_output=True, text=True, check=False, timeout=240, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    *lines, named = done.stdout.splitlines()
    assert named == str(path)
    assert len(lines) == 3
    for line in lines:
        assert re.fullmatch(r" *\d+\.\d\d rings = base \d+\.\d\d, then (\w[\w ]* [+-]\d+\.\d\d, ){3}…", line), line
    assert size(path) == size(README_PICTURE)
