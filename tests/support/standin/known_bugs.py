"""The known bugs of the official images show in the base of each version as listed below, and nowhere else.

This is the ground on which the fixes stand. tests/standin/test_known_bugs_of_*.py run inside the base's own packages:
`scripts/overlay-tests` runs them on every version, and `scripts/overlay-tests --source FOLDER VERSION` on the official
source instead of the stand-in's. Numbers in brackets are sections of the facts about the official images.
"""

import numpy as np
import xgboost as xgb

VERSIONS = ("1.2-2", "1.3-1", "1.5-1", "1.7-1", "3.0-5", "3.2-0")
VERSION = next(name for name in VERSIONS if xgb.__version__.startswith(name.split("-")[0] + "."))

SEEN = {
    "libsvm-skew": ("3.2-0",),  # 2.3, 7
    "libsvm-zero-filled": ("3.2-0",),  # 2.3, script mode
    "empty-rows": VERSIONS,  # 2.3
    "empty-rows-in-script-mode": ("3.2-0",),
    "row-width": VERSIONS,  # 2.3
    "gapless-rows": ("3.2-0",),  # of xgboost
    "jsonlines-accept": VERSIONS,  # 2.4
    "ensemble-vote": ("3.0-5", "3.2-0"),  # 2.2
    "recordio-growth": VERSIONS,  # 2.5
    "mme-errors": VERSIONS,  # 2.6
    "dotfile-loaded": ("1.2-2",),  # 2.2
    "pickle-runs-code": VERSIONS,  # 2.2
    "model-files": VERSIONS,  # 2.2
    "model-missing": VERSIONS,  # 2.2
    "serve-exit-code": VERSIONS,  # 2.1
    "mme-start": ("3.2-0",),  # 2.1
    "eval-metric-without-objective": VERSIONS,  # 4.2
    "hyperparameter-encoding": VERSIONS,  # 4.2
    "custom-metrics": ("3.0-5", "3.2-0"),  # 4.4
    "kfold-eval": ("1.7-1", "3.0-5", "3.2-0"),  # 4.7
    "kfold-without-objective": VERSIONS,  # 4.7
    "metrics": VERSIONS,  # 4.2
    "objectives": VERSIONS,  # 4.2
    "early-stopping": VERSIONS,  # 4.5
    "kfold-checkpoint": VERSIONS[1:],
    "checkpoint-resume": VERSIONS[1:],  # 4.6
}

RNG = np.random.RandomState(3)
ROWS = RNG.rand(90, 4).astype("float32") + 0.01
CLASSES = np.digitize(ROWS.sum(axis=1), [1.7, 2.2])
CSV = "\n".join(",".join(f"{cell:.5f}" for cell in row) for row in ROWS[:3])


def libsvm(labels, rows, first):
    """A line a row; its columns are counted from `first`."""
    cells = (" ".join(f"{index}:{cell:.5f}" for index, cell in enumerate(row, first)) for row in rows)
    return "".join(f"{int(label)} {features}\n" for label, features in zip(labels, cells))


def shows(bug):
    """Whether the version at hand has it."""
    return VERSION in SEEN[bug]
