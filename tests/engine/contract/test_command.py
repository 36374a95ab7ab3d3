"""`xgbpatch test-local` as a process: what it prints where, how it exits, and what it leaves behind."""

import json
import os
import signal
import subprocess
from xml.etree import ElementTree

import pytest

from support import broken
from support.broken import ANSWERS_ANYTHING, Breakage
from support.commands import command_line, xgbpatch
from xgbpatch.commands import _context
from xgbpatch.commands._context import BuiltImage
from xgbpatch.commands._options import Selection
from xgbpatch.config.settings import Flags


def run(*arguments, folder=None):
    return xgbpatch("test-local", *arguments, folder=folder)


@pytest.fixture(scope="module")
def base(base_of):
    return base_of(os.environ.get("XGBPATCH_TEST_VERSION", "1.5-1"))


@pytest.fixture(scope="module")
def unlabelled(engine, base):
    """An image that lacks a label, trains for ever, and serves at once."""
    label = "com.amazonaws.sagemaker.capabilities.accept-bind-to-port"
    commands = {"train": "#!/bin/sh\nexec sleep 600\n", "serve": ANSWERS_ANYTHING}
    with broken.built(engine, base, Breakage("unlabelled", commands, labels={label: ""})) as image:
        yield image


def test_an_unknown_check_exits_2_and_names_the_nearest(base):
    completed = run(base, "--check", "serve.pong")
    assert (completed.returncode, completed.stdout) == (2, "")
    assert '"serve.pong"; did you mean "serve.ping"?' in completed.stderr


def test_an_unknown_image_exits_4():
    completed = run("no/such:image")
    assert completed.returncode == 4
    assert '"no/such:image"' in completed.stderr


def test_an_unknown_base_exits_4_before_anything_runs(base):
    completed = run(base, "--base", "no/such:image")
    assert (completed.returncode, completed.stdout) == (4, "")
    assert '"no/such:image"' in completed.stderr
    assert "[1/" not in completed.stderr


def test_an_empty_model_directory_exits_2(base, tmp_path):
    completed = run(base, "--model", str(tmp_path))
    assert completed.returncode == 2
    assert "holds no model file" in completed.stderr


def test_a_passing_run_exits_0_with_json_on_stdout_and_progress_on_stderr(base, tmp_path):
    completed = run(
        base, "--check", "image.labels", "--check", "image.size", "--json", "--logs", str(tmp_path / "logs")
    )
    document = json.loads(completed.stdout)
    assert completed.returncode == 0
    assert document["passed"]
    assert [check["name"] for check in document["checks"]] == ["image.labels", "image.size"]
    assert "[1/2] image.labels" in completed.stderr
    assert "2 passed, 0 failed, 0 skipped" in completed.stderr
    assert not (tmp_path / "logs").exists()


def test_without_an_image_it_is_that_of_the_last_build_with_this_configuration(engine, base, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "other.toml").write_text("")
    _context.remember_build(Selection(Flags(config=tmp_path / "other.toml")), [BuiltImage(base, engine.image(base).id)])
    completed = run("--config", "other.toml", "--check", "image.size", "--json", folder=tmp_path)
    assert json.loads(completed.stdout)["image"] == base
    assert completed.stderr.startswith(f'Image: {base}, the last build of "{tmp_path / "other.toml"}"')
    nothing = run("--check", "image.size", folder=tmp_path)
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert f'no build of "{tmp_path}" is known' in nothing.stderr


def test_a_failing_run_exits_8_with_lines_on_stdout_and_junit_in_its_file(unlabelled, tmp_path):
    report = tmp_path / "reports" / "contract.xml"
    completed = run(unlabelled, "--check", "image", "--junit", str(report), "--quiet")
    assert completed.returncode == 8
    assert ["failed", "image.labels"] in [line.split()[:2] for line in completed.stdout.splitlines()]
    assert "image.labels" in completed.stderr
    assert "[1/" not in completed.stderr
    assert ElementTree.parse(report).find("testsuite").get("failures") == "1"


@pytest.mark.parametrize(
    ("number", "code", "moment"),
    [(signal.SIGINT, 130, "train.model"), (signal.SIGTERM, 143, "serve.csv"), (signal.SIGINT, 130, "multi-model.ping")],
    ids=["SIGINT while training", "SIGTERM while serving", "SIGINT while the model server starts"],
)
def test_a_signal_in_the_middle_leaves_nothing_behind(engine, base, unlabelled, tmp_path, number, code, moment):
    group = moment.partition(".")[0]
    temporary, model = tmp_path / "temporary", tmp_path / "model"
    temporary.mkdir()
    model.mkdir()
    (model / "xgboost-model").write_bytes(b"\0 no model, and none is loaded before the signal")
    process = subprocess.Popen(
        command_line("test-local", base if group == "multi-model" else unlabelled, "--check", group,
                     "--model", str(model), "--logs", str(tmp_path / "logs")),
        env={**os.environ, "TMPDIR": str(temporary)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stderr:
        if line.strip().endswith(moment):
            break
    while not engine.leftovers(process.pid):  # its container is about to be made
        assert process.poll() is None
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert "interrupted" in stderr
    assert engine.leftovers(process.pid) == []
    assert list(temporary.iterdir()) == []
