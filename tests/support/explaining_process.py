"""`xgbpatch explain` in a process that may be killed; a process of a fork server imports this module by its name.

The fork server imports it too, so that its forks find all that `engines` imports late.
"""
# ruff: noqa: E402, F401

import sys
from pathlib import Path

sys.modules.setdefault("sklearn", None)  # as in conftest.py
import xgboost

from xgbpatch.explanation import engines, files, places
from xgbpatch.overlays.model import booster
from xgbpatch.overlays.native import engine
from xgbpatch.overlays.shap import values


def explain(model: Path, rows: Path, folder: Path, part_rows: int) -> None:
    """All rows of one file, with one thread."""
    inputs = places.inputs_of([rows], None)
    options = files.ExplainOptions((), False, False, False, part_rows)
    files.explain(engines.loaded(model, 1), "the model", inputs, places.LocalOutput(folder), options)
