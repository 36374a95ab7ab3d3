"""A wrong name (of a version, a region, a feature …) gives the same exit code in every command. No engine, no AWS."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import pytest

from support.commands import in_process
from xgbpatch import aws
from xgbpatch.errors import ConfigurationError

SPEC = ("--base-image", "registry.example.com/base:3.2-0")  # any region would do for it


@pytest.fixture
def run(capsys):
    """`run(*arguments)`: exit code, stdout and stderr."""

    return partial(in_process, capsys)


@pytest.fixture(autouse=True)
def nothing_answers(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)


@pytest.mark.parametrize(
    "command",
    [
        ("versions",), ("build", "--version", "3.2-0"), ("plan", *SPEC), ("rebuild", *SPEC), ("usage",), ("prune",),
        ("inspect", "--version", "3.2-0"), ("render", *SPEC), ("doctor",), ("sandbox", "up"),
        ("ci", "init", "github", "--requirement", "xgbpatch"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_region_that_is_none_exits_2(run, command):
    code, stdout, stderr = run(*command, "--region", "us-wset-2")
    assert (code, stdout) == (2, ""), stderr
    assert 'Did you mean "us-west-2"?' in stderr


def test_a_region_that_opened_after_the_table_was_made_is_one(monkeypatch):
    from xgbpatch import catalogue

    monkeypatch.setattr(catalogue, "regions", lambda: ("us-west-2",))
    aws.require_region("eu-west-1")
    with pytest.raises(ConfigurationError, match="eu-wset-1"):
        aws.require_region("eu-wset-1")


@pytest.mark.parametrize(
    "command",
    [
        ("promote", "team/fraud:1", "--alias", "prod"), ("rollback", "team/fraud", "--alias", "prod"),
        ("rebase", "team/fraud:1"), ("rebase", "registry.example.com/fraud:1", "--to", "base:2"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_name_without_a_registry_exits_2(run, command):
    code, stdout, stderr = run(*command)
    assert (code, stdout) == (2, "")
    assert "names no registry" in stderr


def test_a_registry_that_does_not_answer_exits_5():
    """Side by side: each tries several times."""
    commands = [
        ("promote", "127.0.0.1:1/fraud:1", "--alias", "prod"), ("rollback", "127.0.0.1:1/fraud", "--alias", "prod"),
        ("rebase", "127.0.0.1:1/fraud:1"), ("plan", *SPEC, "--registry", "127.0.0.1:1"),
        ("build", "--base-image", "127.0.0.1:1/base:3.2-0", "--builder", "registry", "--registry", "127.0.0.1:1"),
    ]  # fmt: skip
    running = [
        subprocess.Popen([sys.executable, "-m", "xgbpatch", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for command in commands
    ]
    codes = [process.communicate(timeout=300) and process.returncode for process in running]
    assert dict(zip(commands, codes, strict=True)) == dict.fromkeys(commands, 5)
