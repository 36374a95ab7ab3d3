"""`xgbpatch explain`: every row once and in order, whatever kills it; its values are xgboost's own."""

from __future__ import annotations

import gzip
import io
import json
import multiprocessing
import os
import re
import signal
import sys
import tarfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import xgboost
from pyarrow import parquet

from support import explaining_process
from support.commands import in_process
from support.explained import NAMES, abalone
from xgbpatch.explanation import files, places
from xgbpatch.report.explanations import Explanations, Hints

ROWS = abalone("validation.libsvm")[:, 1:]


@pytest.fixture(scope="module")
def booster():
    train = abalone("train_0.libsvm")
    return xgboost.train({"max_depth": 3, "nthread": 1}, xgboost.DMatrix(train[:, 1:], train[:, 0]), 8)


@pytest.fixture
def run(booster, monkeypatch, capsys, tmp_path):
    """`run(*arguments)`: exit code, stdout, stderr of `xgbpatch explain`, with parts of 100 rows."""
    booster.save_model(tmp_path / "model.json")
    booster.save_model(tmp_path / "model.ubj")
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "model.ubj", "xgboost-model")
    lines = [",".join(map(str, row)) for row in ROWS.tolist()]
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "rows.jsonl").write_text("".join(f"[{line}]\n" for line in lines))
    pairs = [" ".join(f"{place}:{cell}" for place, cell in enumerate(row)) for row in ROWS.tolist()]
    (tmp_path / "rows.libsvm").write_text("".join(f"9 {line}\n" for line in pairs))
    (tmp_path / "bad.csv").write_text("\n".join([*lines[:3], "1,2,x" + ",0" * 5, "1,2", *lines[3:6]]) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files.ExplainOptions.__init__, "__defaults__", ((), False, False, False, 100))

    return partial(in_process, capsys, "explain")


def values(folder):
    blocks = list(Explanations([folder], Hints()))
    return [np.concatenate([getattr(block, name) for block in blocks]) for name in ("predictions", "base", "values")]


@pytest.mark.parametrize(
    ("model", "rows", "more"),
    [("model.tar.gz", "rows.csv", ("--names", "names.txt")), ("model.json", "rows.jsonl", ()),
     ("model.json", "rows.libsvm", ()), ("model.json", "rows.csv", ("--format", "parquet"))],
)  # fmt: skip
def test_every_format_gives_xgboost_s_own_values(run, tmp_path, booster, model, rows, more):
    code, stdout, stderr = run(model, rows, "--output", "out", *more, "--json")
    assert code == 0, stderr
    assert (json.loads(stdout)["rows"], len(json.loads(stdout)["parts"])) == (626, 7)
    assert re.search(r"626 rows; [\d,]+ rows a second", stderr)
    predictions, base, shap = values(tmp_path / "out")
    matrix = xgboost.DMatrix(ROWS)
    theirs = booster.predict(matrix, pred_contribs=True)
    np.testing.assert_array_equal(predictions[:, 0].astype(np.float32), booster.predict(matrix))
    np.testing.assert_allclose(shap[:, 0], theirs[:, :-1], atol=1e-5)
    np.testing.assert_allclose(base[:, 0], theirs[:, -1], atol=1e-5)


def test_a_line_that_cannot_be_read_stops_or_is_left_out(run, tmp_path):
    code, _, stderr = run("model.json", "bad.csv", "--output", "stopped")
    assert code == 2
    assert '"bad.csv", line 4, column 3: "x" is no number' in stderr
    code, stdout, stderr = run("model.json", "bad.csv", "--output", "skipped", "--on-error", "skip", "--json")
    assert code == 0, stderr
    assert (json.loads(stdout)["rows"], json.loads(stdout)["skipped"]) == (6, 2)
    assert 'left out: "bad.csv", line 4' in stderr
    assert 'left out: "bad.csv", line 5' in stderr
    journal = json.loads((tmp_path / "skipped" / files.JOURNAL).read_text())
    assert journal["parts"][0]["skipped"] == [4, 5]


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv"])
def test_the_share_of_a_file_that_is_done_is_told(run, tmp_path, name):
    numbers = [pyarrow.array(column) for column in ROWS.T]
    parquet.write_table(pyarrow.Table.from_arrays(numbers, list(NAMES)), tmp_path / "rows.parquet")
    assert run("model.json", name, "--output", "out")[0] == 0
    shares = [part["share"] for part in json.loads((tmp_path / "out" / files.JOURNAL).read_text())["parts"]]
    assert shares == sorted(shares)
    assert (len(shares), shares[-1]) == (7, 1)
    assert shares[0] == pytest.approx(100 / 626, rel=0.05)


def test_a_missing_cell_is_null_in_json_and_empty_in_csv(run, tmp_path):
    (tmp_path / "null.jsonl").write_text(
        '[null, 0.5, 0.5, 0.1, 1, 0.5, 0.2, 0.3]\n{"features": [1, 2, 3, 4, 5, 6, 7, null]}\n'
    )
    (tmp_path / "null.csv").write_text(",0.5,0.5,0.1,1,0.5,0.2,0.3\n1,2,3,4,5,6,7,\n")
    for name in ("null.jsonl", "null.csv"):
        code, _, stderr = run("model.json", name, "--output", f"{name}.out")
        assert code == 0, stderr
    one, two = ((tmp_path / f"{name}.out" / "part-00000.csv").read_bytes() for name in ("null.jsonl", "null.csv"))
    assert one == two


def test_parts_of_another_run_are_refused_and_a_changed_part_is_made_again(run, tmp_path):
    assert run("model.json", "rows.csv", "--output", "out")[0] == 0
    part = tmp_path / "out" / "part-00003.csv"
    content = part.read_bytes()
    part.write_bytes(b"changed")
    assert run("model.json", "rows.csv", "--output", "out")[0] == 0
    assert part.read_bytes() == content
    code, _, stderr = run("model.json", "rows.libsvm", "--output", "out")
    assert code == 2
    assert "holds parts of another run: other inputs" in stderr


def test_an_output_that_cannot_be_written_is_told_before_the_work(run):
    code, _, stderr = run("absent.json", "rows.csv", "--output", "rows.csv")
    assert code == 2
    assert 'cannot write --output "rows.csv"' in stderr


def test_an_output_within_the_input_is_refused(run, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "rows.csv").rename(tmp_path / "in" / "rows.csv")
    code, _, stderr = run("model.json", "in", "--output", "in/out")
    assert code == 2
    assert 'the output "in/out" lies in the input "in"' in stderr
    assert run("model.json", "in", "--output", "in-out")[0] == 0


def test_a_pickle_is_not_opened(run, tmp_path, booster):
    import pickle

    (tmp_path / "model.pkl").write_bytes(pickle.dumps(booster))
    code, _, stderr = run("model.pkl", "rows.csv", "--output", "out")
    assert code == 2
    assert "is a pickle, which runs code" in stderr


def test_a_run_killed_20_times_gives_the_bytes_of_an_undisturbed_one(booster, tmp_path, monkeypatch):
    processes = multiprocessing.get_context("forkserver")  # which has imported all of it, and computed nothing
    processes.set_forkserver_preload(["support.explaining_process"])
    tests = Path(explaining_process.__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", str(tests))  # it has not the sys.path of this process
    booster.save_model(tmp_path / "model.json")
    lines = [",".join(map(str, row)) for row in ROWS.tolist()] * 8
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    random, killed, whole = np.random.default_rng(0), tmp_path / "killed", tmp_path / "whole"

    def start(folder):
        arguments = (tmp_path / "model.json", tmp_path / "rows.csv", folder, 50)
        process = processes.Process(target=explaining_process.explain, args=arguments)
        process.start()
        return process

    def parts():
        return len(list(killed.glob("part-*")))

    begun = time.monotonic()
    undisturbed = start(whole)
    undisturbed.join(600)
    assert undisturbed.exitcode == 0
    names = sorted(path.name for path in whole.iterdir())
    seconds = (time.monotonic() - begun) / len(names)  # of a part, about
    for _ in range(20):
        before, goal, delay = parts(), random.integers(0, 2), random.uniform(0, 2 * seconds)
        process = start(killed)
        while process.is_alive() and parts() < before + goal:
            time.sleep(0.001)
        until = time.monotonic() + delay
        while time.monotonic() < until and parts() < before + goal + 3:  # or the run would end before 20 kills
            time.sleep(0.001)
        process.kill()
        process.join(600)
        assert process.exitcode == -signal.SIGKILL  # and not at its end
    last = start(killed)
    last.join(600)
    assert last.exitcode == 0
    assert len(names) == 102
    assert sorted(path.name for path in killed.iterdir()) == names
    assert all((killed / name).read_bytes() == (whole / name).read_bytes() for name in names)
    explained = b"".join((killed / name).read_bytes().partition(b"\n")[2] for name in names[1:])
    assert explained.count(b"\n") == len(lines)


def test_an_estimate_writes_nothing_and_carries_the_rate_over(run, tmp_path):
    code, stdout, stderr = run("model.json", "rows.csv", "--estimate", "--json")
    assert code == 0, stderr
    document = json.loads(stdout)
    assert (document["rows"], document["rows_exact"], document["measured"], document["cost"]) == (626, True, 626, None)
    assert document["hours"] == pytest.approx(626 / document["rows_per_second"] / 3600)
    sample = ("--estimate", "--rows", "10000000", "--instances", "4", "--price-per-hour", "2")
    code, stdout, _ = run("model.json", "rows.csv", *sample, "--json")
    document = json.loads(stdout)
    assert document["cost"] == pytest.approx(2 * document["hours"])
    assert document["hours_of_each"] == pytest.approx(document["hours"] / 4)
    assert run("model.json", "rows.csv", *sample)[1].startswith("rows           10,000,000\n")
    assert not (tmp_path / "out").exists()
    assert run("model.json", "rows.csv", "--rows", "5", "--output", "out")[0] == 2
    assert run("model.json", "rows.csv")[0] == 2


def test_a_terminal_gets_a_bar_with_rows_a_second(run, monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := io.StringIO())
    terminal.isatty = lambda: True
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "150")
    assert run("model.json", "rows.csv", "--output", "out")[0] == 0
    assert re.search(r"explained.*━.*kB.*626 rows; [\d,]+ rows a second", terminal.getvalue())


def test_threads_change_no_byte(run, tmp_path):
    for threads in ("1", "2"):
        assert run("model.json", "rows.csv", "--output", threads, "--threads", threads)[0] == 0
    for path in (tmp_path / "1").glob("part-*"):
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("content", "reason"),
    [(gzip.compress(b"1,2,3,4,5,6,7,8\n" * 9)[:-9], "is no whole gzip file"),
     (b"[1, 2, 3, 4, 5, 6, 7, 1" + b"0" * 400 + b"]\n", "line 1: it is no list of numbers"),
     (b"1,2,3,4,5,6,7,1e300\n", "line 1: a number beyond float32"),
     (b"1,2,3,4,5,6,7,8\n1_0,2,3,4,5,6,7,8\n", 'line 2, column 1: "1_0" is no number')],
    ids=["a gzip file that was cut", "an integer beyond a double", "a number beyond float32", "a number of Python"],
)  # fmt: skip
def test_what_cannot_be_read_is_told_and_not_a_traceback(run, tmp_path, content, reason):
    (tmp_path / "bad").write_bytes(content)
    code, _, stderr = run("model.json", "bad", "--output", "out")
    assert code == 2
    assert reason in stderr


UNDERSCORED = [name.replace(" ", "_") for name in NAMES]
SHUFFLED = [3, 1, 0, 2, 7, 6, 5, 4]


@pytest.fixture(scope="module")
def named():
    train = abalone("train_0.libsvm")
    matrix = xgboost.DMatrix(train[:, 1:], train[:, 0], feature_names=UNDERSCORED)
    return xgboost.train({"max_depth": 3, "nthread": 1}, matrix, 8)


def text_of(rows, header=()):
    lines = [",".join(map(str, row)) for row in [*([header] if len(header) else []), *rows.tolist()]]
    return "\n".join(lines) + "\n"


def columns_of(rows, names):
    return pyarrow.Table.from_arrays([pyarrow.array(column) for column in rows.T], names)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_columns_with_names_are_put_in_the_model_s_order_and_others_left_out(run, tmp_path, named, form):
    named.save_model(tmp_path / "named.json")
    rows = np.column_stack([ROWS[:, SHUFFLED], np.full(len(ROWS), 9, np.float32)])
    names = [*(UNDERSCORED[place] for place in SHUFFLED), "rings"]
    if form == "csv":
        (tmp_path / "shuffled").write_text(text_of(rows, names))
    else:
        parquet.write_table(columns_of(rows, names), tmp_path / "shuffled")
    code, _, stderr = run("named.json", "shuffled", "--output", "out")
    assert code == 0, stderr
    np.testing.assert_allclose(values(tmp_path / "out")[0][:, 0], named.predict(xgboost.DMatrix(
        ROWS, feature_names=UNDERSCORED)), rtol=1e-6)  # fmt: skip
    (tmp_path / "names.txt").write_text("\n".join(UNDERSCORED))  # of a model that has none
    assert run("model.json", "shuffled", "--output", "by-names", "--names", "names.txt")[0] == 0
    np.testing.assert_array_equal(values(tmp_path / "by-names")[2], values(tmp_path / "out")[2])


def test_the_header_of_the_first_file_names_the_features_and_orders_the_next(run, tmp_path):
    (tmp_path / "a.csv").write_text(text_of(ROWS, UNDERSCORED))
    (tmp_path / "b.csv").write_text(text_of(ROWS[:, SHUFFLED], [UNDERSCORED[place] for place in SHUFFLED]))
    assert run("model.json", "a.csv", "b.csv", "--output", "out")[0] == 0
    head = (tmp_path / "out" / "part-00000.csv").read_text().splitlines()[0]
    assert head == ",".join(["prediction", "base_value", *UNDERSCORED])
    predictions = values(tmp_path / "out")[0]
    np.testing.assert_array_equal(predictions[: len(ROWS)], predictions[len(ROWS) :])
    part = tmp_path / "out" / "part-00012.csv"  # and a run that goes on in the second file as well
    content = part.read_bytes()
    part.unlink()
    assert run("model.json", "a.csv", "b.csv", "--output", "out")[0] == 0
    assert part.read_bytes() == content
    (tmp_path / "c.csv").write_text(text_of(ROWS, [*UNDERSCORED[:-1], "other"]))
    code, _, stderr = run("model.json", "a.csv", "c.csv", "--output", "other")
    assert code == 2
    assert '"c.csv" has no column "shell_weight"' in stderr


def test_names_that_training_left_beside_a_model_are_its_own(run, tmp_path, booster):
    (tmp_path / "model" / "xgbpatch").mkdir(parents=True)
    (tmp_path / "model" / "xgboost-model").write_bytes(booster.save_raw("ubj"))
    (tmp_path / "model" / "xgbpatch" / "feature_names.json").write_text(json.dumps(UNDERSCORED))
    (tmp_path / "shuffled.csv").write_text(text_of(ROWS[:9, SHUFFLED], [UNDERSCORED[place] for place in SHUFFLED]))
    code, _, stderr = run("model", "shuffled.csv", "--output", "out")
    assert code == 0, stderr
    predictions = booster.predict(xgboost.DMatrix(ROWS[:9]))
    np.testing.assert_allclose(values(tmp_path / "out")[0][:, 0], predictions, rtol=1e-6)


@pytest.mark.parametrize(
    ("content", "more", "reason"),
    [("0,1,2,3,4,5,6,7\n1,2,3,4,5,6,7,8\n", (), "begins with the numbers of its columns"),
     (",0,1,2,3,4,5,6,7\n0,1,2,3,4,5,6,7,8\n", ("--label-first",), "begins with the numbers of its columns"),
     ("1;2;3;4;5;6;7;8\n", (), "Cells are separated by commas"),
     ("a,b,c,d,e,f,g,rings,h\n", (), "9 columns have names, the model has 8 features"),
     ("", (), "the input holds no row"), ("a,b,c,d,e,f,g,h\n", (), "the input holds no row"),
     ("1,2\n3\n", ("--on-error", "skip"), "none of the 2 lines of the input can be read"),
     ("9 0:1 3:2 0:5\n", (), "line 1: a feature stands there twice")],
    ids=["columns of pandas", "with its index", "semicolons", "a label in the header", "empty", "a header alone",
         "all skipped", "a feature twice"],
)  # fmt: skip
def test_what_would_be_no_row_is_refused_and_not_explained(run, tmp_path, content, more, reason):
    (tmp_path / "bad").write_text(content)
    code, _, stderr = run("model.json", "bad", "--output", "out", *more)
    assert code == 2
    assert reason in stderr


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.libsvm"])
def test_a_byte_order_mark_is_no_part_of_the_first_cell(run, tmp_path, name):
    assert run("model.json", name, "--output", "plain")[0] == 0
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + (tmp_path / name).read_bytes())
    code, _, stderr = run("model.json", name, "--output", "marked")
    assert code == 0, stderr
    for part in (tmp_path / "plain").glob("part-*"):
        assert (tmp_path / "marked" / part.name).read_bytes() == part.read_bytes()


def test_a_label_is_left_out_of_json_too(run, tmp_path):
    (tmp_path / "labelled.jsonl").write_text("".join(f"[9, {line}]\n" for line in text_of(ROWS).splitlines()))
    assert run("model.json", "labelled.jsonl", "--output", "out", "--label-first")[0] == 0
    assert run("model.json", "rows.jsonl", "--output", "plain")[0] == 0
    np.testing.assert_array_equal(values(tmp_path / "out")[2], values(tmp_path / "plain")[2])


def test_categories_are_refused(run, tmp_path):
    table = columns_of(ROWS[:4], UNDERSCORED).set_column(0, "sex", pyarrow.array(list("abab")).dictionary_encode())
    parquet.write_table(table, tmp_path / "rows.parquet")
    code, _, stderr = run("model.json", "rows.parquet", "--output", "out")
    assert (code, 'the column "sex" of "rows.parquet" has categories' in stderr) == (2, True)


def test_a_file_that_grows_while_it_is_read_is_followed_no_further(run, tmp_path, monkeypatch):
    """Parts would hold rows of both under the digest of the first, and one that is written to for ever never ends."""
    write = places.LocalOutput.write

    def write_and_change(output, name, content, sha256):
        write(output, name, content, sha256)
        with (tmp_path / "rows.csv").open("a") as rows:
            rows.write((",".join(["0"] * len(NAMES)) + "\n") * len(ROWS))

    with monkeypatch.context() as patch:
        patch.setattr(places.LocalOutput, "write", write_and_change)
        code, _, stderr = run("model.json", "rows.csv", "--output", "out")
    assert (code, 'rows.csv" changed while its rows were read' in stderr) == (16, True)
    assert [path.name for path in (tmp_path / "out").glob("part-*")] == ["part-00000.csv"]
    code, _, stderr = run("model.json", "rows.csv", "--output", "out")
    assert (code, "holds parts of another run: other inputs" in stderr) == (2, True)


def test_a_pipe_is_refused(run, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    code, _, stderr = run("model.json", "pipe", "--output", "out")
    assert (code, '"pipe" is a pipe or a device' in stderr) == (2, True)


def test_names_that_would_mislead_are_refused(run, tmp_path, named):
    named.save_model(tmp_path / "named.json")
    (tmp_path / "names.txt").write_text("\n".join(UNDERSCORED[place] for place in SHUFFLED))
    code, _, stderr = run("named.json", "rows.csv", "--output", "out", "--names", "names.txt")
    assert (code, "in another order than the model" in stderr) == (2, True)
    for name in ("base_value", "prediction_1", "two\nlines"):
        (tmp_path / "names.txt").write_text(json.dumps([*UNDERSCORED[1:], name]))
        code, _, stderr = run("model.json", "rows.csv", "--output", "out", "--names", "names.txt")
        assert (code, "a name that the output's own columns have" in stderr) == (2, True)


def test_parts_of_wide_rows_have_fewer(run, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PART_CELLS", 8 * 70)
    assert run("model.json", "rows.csv", "--output", "out")[0] == 0
    journal = json.loads((tmp_path / "out" / files.JOURNAL).read_text())
    assert [part["rows"] for part in journal["parts"]] == [70] * 8 + [66]


def test_parts_without_a_journal_are_not_mixed_with_new_ones(run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "part-00009.csv").write_text("of somebody else\n")
    code, _, stderr = run("model.json", "rows.csv", "--output", "out")
    assert (code, '"out" holds "part-00009.csv", and no explain.json' in stderr) == (2, True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["part-00009.csv"]


def test_rounds_behind_the_best_are_explained_as_the_image_predicts(run, tmp_path):
    train = abalone("train_0.libsvm")
    held_out = xgboost.DMatrix(ROWS, abalone("validation.libsvm")[:, 0])
    booster = xgboost.train({"eta": 1, "max_depth": 8, "nthread": 1}, xgboost.DMatrix(train[:, 1:], train[:, 0]), 30,
                            evals=[(held_out, "v")], early_stopping_rounds=4, verbose_eval=False)  # fmt: skip
    assert booster.best_iteration + 1 < booster.num_boosted_rounds()
    booster.save_model(tmp_path / "early.json")
    code, _, stderr = run("early.json", "rows.csv", "--output", "out")
    assert code == 0
    assert "note: training stopped early: all" in stderr
    np.testing.assert_allclose(values(tmp_path / "out")[0][:, 0], booster.predict(xgboost.DMatrix(ROWS)), rtol=1e-6)


def test_half_a_model_is_told_in_one_line(run, tmp_path):
    (tmp_path / "half.json").write_bytes((tmp_path / "model.json").read_bytes()[:-300])
    code, _, stderr = run("half.json", "rows.csv", "--output", "out")
    assert code == 2
    assert 'does not read "half.json": Expecting' in stderr
    assert "libxgboost" not in stderr


def test_a_model_whose_leaves_are_vectors_is_refused(run, tmp_path):
    labels = np.column_stack([ROWS[:, 0], ROWS[:, 1]])
    parameters = {"multi_strategy": "multi_output_tree", "max_depth": 2, "nthread": 1}
    xgboost.train(parameters, xgboost.DMatrix(ROWS, labels), 2).save_model(tmp_path / "vectors.json")
    code, _, stderr = run("vectors.json", "rows.csv", "--output", "out")
    assert (code, '"vectors.json" cannot be explained' in stderr) == (2, True)
