"""Commands and programs of pages that need neither an engine nor AWS, run as they stand, on files of their names."""

from __future__ import annotations

import pickle
import shutil
import tarfile

import numpy as np
import pytest
import xgboost

from support.documentation import EXAMPLE, ROOT, blocks, commands, run_by
from support.explained import capture
from xgbpatch.cli import cli

NAMES = ("sex", "length", "height")
PAGES = {  # and what its commands leave
    "docs/explain.md": ("explained/explain.json", "explained/part-00000.csv", "report.html"),
    "docs/report.md": ("report.html", "pictures/beeswarm.png", "drift.html"),
    "docs/training.md": (),
    "docs/commands.md": (),
}
PROGRAMS = {  # page: words of a program, and what it leaves
    "docs/library.md": {"report.make": ("report.html",), "files.explain": ("explained/part-00000.parquet",)},
    "docs/fixes/pickle-refused.md": {"pickle.load": ("model.json",)},
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
    (tmp_path / "xgboost-model").write_bytes(booster.save_raw("json"))
    with tarfile.open("model.tar.gz", "w:gz") as packed:
        packed.add("xgboost-model.json")
    matrix = xgboost.DMatrix(rows)
    values = booster.predict(matrix, pred_contribs=True)
    answers = np.column_stack([booster.predict(matrix), values[:, -1], values[:, :-1]])
    for folder in ("rows", "input", "transform-output", "capture/2026/10", "capture/2026/11"):
        (tmp_path / folder).mkdir(parents=True)
    for name, table in {
        "validation.csv": rows, "sample.csv": rows, "rows/rows.csv": rows, "labels.csv": labels,
        "input/rows.csv": np.column_stack([labels, rows]),
        "validation.csv.out": answers, "transform-output/rows.csv.out": answers,
    }.items():  # fmt: skip
        np.savetxt(name, table, delimiter=",", fmt="%.9g")
    requests, replies = (
        (tmp_path / name).read_text().splitlines() for name in ("validation.csv", "validation.csv.out")
    )
    for month, half in (("10", slice(30)), ("11", slice(30, 60))):
        (tmp_path / f"capture/2026/{month}/a.jsonl").write_text(
            capture(requests[half], "\n".join(replies[half])) + "\n"
        )
    (tmp_path / "names.txt").write_text("\n".join(NAMES) + "\n")
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_leave_what_it_says(page, files, monkeypatch, tmp_path_factory):
    """An example of the command reference has the files for itself, and nobody's cache but its own is cleared."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    ran = 0
    for block in run_by(__file__, page):
        if block.language == EXAMPLE:
            monkeypatch.chdir(shutil.copytree(files, tmp_path_factory.mktemp("example"), dirs_exist_ok=True))
            shutil.copy("rows/rows.csv", "input/rows.csv")  # without labels
        for words in commands(block.script):
            if words[0] == "xgbpatch":
                cli.main(words[1:], standalone_mode=False)
                ran += 1
    assert ran >= 2
    for name in PAGES[page]:
        assert (files / name).stat().st_size > 0, name


@pytest.mark.parametrize("page", PROGRAMS)
def test_the_programs_of_a_page_leave_what_it_says(page, files):
    """The model is a pickle on the page that rids one of pickles; the first line of the rows has their names."""
    booster = xgboost.Booster(model_file="xgboost-model.json")
    content = pickle.dumps(booster) if "pickle" in page else bytes(booster.save_raw("json"))
    (files / "xgboost-model").write_bytes(content)
    (files / "validation.csv").write_text(",".join(NAMES) + "\n" + (files / "rows/rows.csv").read_text())
    programs = [block.text for block in blocks("python") if block.page == ROOT / page]
    for words, names in PROGRAMS[page].items():
        (program,) = (text for text in programs if words in text)
        exec(compile(program, page, "exec"), {})
        for name in names:
            assert (files / name).stat().st_size > 0, name
