"""The example of the README on a real endpoint of a real image."""

import os
import re
import subprocess
import sys

from support.abalone_example import EXAMPLE, README_PICTURE, size


def test_predictions_of_a_real_image_are_printed_and_drawn(patched, tmp_path):
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
