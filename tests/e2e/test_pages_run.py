"""Commands of pages that need neither an engine nor AWS, run as they stand, on files of the names in the pages."""

from __future__ import annotations

import tarfile

import numpy as np
import pytest
import xgboost

from support.documentation import commands, run_by
from xgbpatch.cli import cli

NAMES = ("sex", "length", "height")
ELSEWHERE = ("s3://", "--image", "--on", "capture/2026/11/")  # an account, an engine, files of data capture
PAGES = {  # and what its commands leave
    "docs/explain.md": ("explained/explain.json", "explained/part-00000.csv", "report.html"),
    "docs/report.md": ("report.html", "pictures/beeswarm.png"),
}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A model of three features, rows with and without labels, and answers as batch transform writes them."""
    monkeypatch.chdir(tmp_path)
    random = np.random.RandomState(0)
    rows = np.column_stack([random.randint(1, 4, 60), random.rand(60, 2)]).astype(np.float32)
    labels = rows @ [1, 5, 9]
    booster = xgboost.train({"max_depth": 3, "eta": 0.5}, xgboost.DMatrix(rows, labels), 4)
    booster.save_model("xgboost-model.json")
    with tarfile.open("model.tar.gz", "w:gz") as packed:
        packed.add("xgboost-model.json")
    matrix = xgboost.DMatrix(rows)
    values = booster.predict(matrix, pred_contribs=True)
    answers = np.column_stack([booster.predict(matrix), values[:, -1], values[:, :-1]])
    for folder in ("rows", "input", "transform-output"):
        (tmp_path / folder).mkdir()
    for name, table in {
        "validation.csv": rows, "sample.csv": rows, "rows/rows.csv": rows, "labels.csv": labels,
        "input/rows.csv": np.column_stack([labels, rows]),
        "validation.csv.out": answers, "transform-output/rows.csv.out": answers,
    }.items():  # fmt: skip
        np.savetxt(name, table, delimiter=",", fmt="%.9g")
    (tmp_path / "names.txt").write_text("\n".join(NAMES) + "\n")
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_leave_what_it_says(page, files):
    ran = 0
    for block in run_by(__file__, page):
        for words in commands(block.script):
            if words[0] == "xgbpatch" and not any(word.startswith(ELSEWHERE) for word in words):
                cli.main(words[1:], standalone_mode=False)
                ran += 1
    assert ran >= 2
    for name in PAGES[page]:
        assert (files / name).stat().st_size > 0, name
