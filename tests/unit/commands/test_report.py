"""`xgbpatch report`: a page of real explanations, its pictures and numbers, and what is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from support.commands import in_process
from support.explained import NAMES, explain
from xgbpatch.errors import ConfigurationError, EngineError, ExtraMissingError, FileError

HOSTILE = ["</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "datum.shap", "a.b[0]", "\u2028",
           "name\nof two lines", "x" * 500, "{{ 7*7 }} ' \\ é 猫 <!--"]  # fmt: skip
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """`run(*arguments)`: exit code, stdout, stderr of `xgbpatch report` in a folder of abalone's explanations."""
    explained = explain()
    text = {
        "explained.csv": explained.lines(), "headed.csv": explained.lines(header=True),
        "joined.csv": explained.lines(joined=True),
        "data.csv": explained.inputs(), "short.csv": explained.inputs()[:-1], "labels.csv": map(str, explained.labels),
        "names.txt": NAMES,
        "with-labels.csv": [f"{label},{line}"
                            for label, line in zip(explained.labels, explained.inputs(), strict=True)],
        "data.libsvm": [f"{label} " + " ".join(f"{place}:{cell}" for place, cell in enumerate(row, 1))
                        for label, row in zip(explained.labels, explained.data, strict=True)],
        "shuffled-names.txt": NAMES[::-1], "two-names.txt": NAMES[:2],
        "shuffled.csv": explained.lines(header=True, names=NAMES[::-1]),
        "partly.csv": [",".join([*NAMES[:0:-1], "other"]), *explained.inputs()],
        "some-labels.csv": ["rings", *(str(label) if place % 3 else "nan"
                                       for place, label in enumerate(explained.labels))],
        "empty-labels.csv": ["1", "", *map(str, explained.labels[2:])],
        "classes.csv": explain("multi:softprob").lines(), "one-to-three.csv": ["1", "2", "3"] * 20,
        "moved.csv": explain(rows=90).lines(), "binary.csv": explain("binary:logistic").lines(),
    }  # fmt: skip
    for name, lines in text.items():
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (tmp_path / "hostile.json").write_text(json.dumps(HOSTILE), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")

    return partial(in_process, capsys, "report")


def test_a_page_with_everything(run, tmp_path):
    code, stdout, stderr = run(
        "explained.csv", "--data", "data.csv", "--labels", "labels.csv", "--names", "names.txt", "--cohort", "sex",
        "--compare", "moved.csv", "--row", "7", "--unit", "rings", "--png", "pictures", "--json",
        "--title", "Abalone <1>",
    )  # fmt: skip
    assert code == 0, stderr
    explained = explain()
    document = json.loads(stdout)
    assert (document["rows"], document["not_additive"], document["output"]) == (60, 0, "report.html")
    means = np.abs(explained.values[:, 0]).mean(axis=0)
    assert document["importance"] == pytest.approx(dict(zip(NAMES, means, strict=True)), rel=1e-5)
    assert list(document["importance"]) == [NAMES[place] for place in np.argsort(-means)]
    assert document["quality"]["MAE"] == pytest.approx(np.abs(explained.predictions[:, 0] - explained.labels).mean())

    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert len(page.encode()) < 3_000_000
    assert "Abalone &lt;1&gt;" in page
    assert "They add up in all 60 rows" in page
    for section in ("features", "dependence", "rows", "quality", "cohorts", "drift", "additivity", "facts"):
        assert f'<section id="{section}">' in page
    outside = page.partition("window.vegaEmbed=")[0].rpartition("<script>")[0] + page.rpartition("window.vegaEmbed=")[2]
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", outside)  # nothing is loaded from anywhere
    assert page.count('<img alt="') == len(document["pictures"]) == page.count('src="data:image/')
    for picture in document["pictures"]:
        assert (tmp_path / picture).read_bytes().startswith(PNG)
    assert "pictures/row-7.png" in document["pictures"]


@pytest.mark.parametrize(
    ("arguments", "labelled", "data"),
    [
        (("headed.csv",), False, False),
        (("joined.csv", "--joined"), False, True),
        (("explained.csv", "--data", "with-labels.csv", "--label-first"), True, True),
        (("explained.csv", "--data", "data.libsvm"), True, True),
    ],
    ids=["a header", "joined input", "label first", "libsvm"],
)
def test_features_and_labels_from_where_they_are(run, tmp_path, arguments, labelled, data):
    code, stdout, stderr = run(*arguments, "--json")
    assert code == 0, stderr
    assert bool(json.loads(stdout)["quality"]) == labelled
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert ('<section id="dependence">' in page) == data
    assert ("shell weight" in page) == ("headed.csv" in arguments)


def test_what_is_known_of_the_model(run, tmp_path):
    import xgboost

    from xgbpatch.commands import report

    booster = xgboost.train({"max_depth": 1}, xgboost.DMatrix(np.eye(4), np.arange(4)), 1)
    booster.save_model(tmp_path / "model.json")
    facts, names = report.model_facts(tmp_path / "model.json")
    assert (names, facts[1][1]) == ((), f"JSON, written by xgboost {xgboost.__version__}")

    (tmp_path / "model" / "xgbpatch").mkdir(parents=True)
    booster.save_model(tmp_path / "model" / "model.json")
    record = json.dumps({"objective": "reg:squarederror", "rounds": [1], "features": 8})
    (tmp_path / "model" / "xgbpatch" / "record.json").write_text(record, encoding="utf-8")
    (tmp_path / "model" / "xgbpatch" / "feature_names.json").write_text(json.dumps(NAMES), encoding="utf-8")
    code, stdout, stderr = run("explained.csv", "--model", "model", "--json")
    assert code == 0, stderr
    assert set(json.loads(stdout)["importance"]) == set(NAMES)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<td>its objective</td><td>reg:squarederror</td>" in page


def test_hostile_names_are_text(run, tmp_path):
    code, stdout, stderr = run("explained.csv", "--data", "data.csv", "--names", "hostile.json", "--json")
    assert code == 0, stderr
    assert "name of two lines" in json.loads(stdout)["importance"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "alert(1)</script>" not in page
    assert "<img src=x" not in page
    assert "{{ 7*7 }}" in page  # no template is filled with it
    assert page.count("<script") == page.count("</script>") == 4


CASES = {
    "no such file": (("missing.csv",), FileError.exit_code, "missing.csv"),
    "features as explanations": (("data.csv",), ConfigurationError.exit_code, "no explanations that add up"),
    "fewer rows of features": (("explained.csv", "--data", "short.csv"), 2, "ends after 59 rows of features"),
    "more rows of features": (("explained.csv", *("--data", "data.csv") * 2), 2, "more rows of features than"),
    "labels among the features": (("explained.csv", "--data", "with-labels.csv"), 2, "--label-first"),
    "labels of two columns": (("explained.csv", "--labels", "data.csv"), 2, "labels have one"),
    "names too few": (("explained.csv", "--names", "labels.csv"), 2, "none twice"),
    "a cohort of nothing": (("explained.csv", "--cohort", "sex"), 2, "--data names the rows"),
    "a cohort that is none": (
        ("explained.csv", "--data", "data.csv", "--names", "names.txt", "--cohort", "heigth"), 2,
        'Did you mean "height"?',
    ),
    "a row that is none": (("explained.csv", "--row", "61"), 2, "--row 61: there are 60 rows"),
    "a class that is none": (("explained.csv", "--class", "1"), 2, "--class 1: the explanations have 1 classes"),
    "another model": (("explained.csv", "--compare", "data.csv"), 2, "not the same model"),
    "a model that is none": (("explained.csv", "--model", "data.csv"), 2, "is no model archive, or damaged"),
    "an image without an engine": (("explained.csv", "--image", "it:1"), EngineError.exit_code, "Docker"),
    "names in another order": (("headed.csv", "--names", "shuffled-names.txt"), 2, "in another order"),
    "names that make it classes": (("explained.csv", "--names", "two-names.txt"), 2, "no explanations that add up"),
    "features of other names": (("headed.csv", "--data", "partly.csv"), 2, 'has no column "sex"'),
    "files of other names": (("headed.csv", "shuffled.csv"), 2, "other names of features than files before it"),
    "compared with other names": (("headed.csv", "--compare", "shuffled.csv"), 2, "or another order: not the same"),
    "an empty label": (("explained.csv", "--labels", "empty-labels.csv"), 2, "is written nan"),
    "a label that is no class": (
        ("classes.csv", "--classes", "3", "--labels", "one-to-three.csv"), 2, "the label 3 is none of the 3 classes",
    ),
    "a folder as the page": (("explained.csv", "--output", "."), 2, "--output"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_refusals(run, tmp_path, case):
    arguments, exit_code, reason = CASES[case]
    code, stdout, stderr = run(*arguments)
    assert (code, stdout) == (exit_code, ""), stderr
    assert reason in stderr
    assert not (tmp_path / "report.html").exists()


def test_rows_without_a_label_are_left_out_of_what_is_said_of_labels(run, tmp_path):
    code, stdout, stderr = run("binary.csv", "--labels", "some-labels.csv", "--json")
    assert code == 0, stderr
    explained = explain("binary:logistic")
    known = np.arange(60) % 3 > 0
    labels = explain().labels[known]  # rings, of which none is 0 or 1
    error = np.abs(explained.predictions[known, 0] - labels).mean()
    assert json.loads(stdout)["quality"]["MAE"] == pytest.approx(error)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "40 of 60 rows have one" in page


def test_what_does_not_add_up_is_drawn_where_that_is_said(run, tmp_path):
    code, stdout, stderr = run("data.csv", "--even-so")
    assert (code, stdout) == (0, "report.html\n")
    assert "warning: base value and SHAP values miss the prediction in" in stderr
    assert "rows do not add up" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_without_the_extra_it_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    code, _, stderr = run("explained.csv")
    assert code == ExtraMissingError.exit_code
    assert "pip install 'xgbpatch[report]'" in stderr


def test_help_imports_nothing_heavy():
    heavy = "{'numpy', 'vl_convert', 'jinja2'}"
    code = f"import sys; from xgbpatch.commands import report; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
