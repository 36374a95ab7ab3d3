"""A reader of stdout that has gone, and a disk below stdout that is full: with real pipes and devices."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from xgbpatch.errors import FileError

MANY_LINES = """
import click, sys
from xgbpatch import cli
@click.command("many")
def many():
    try:
        for _ in range(100):
            click.echo("x" * 100_000)
    finally:
        click.echo("cleaned", err=True)
cli.COMMANDS += ("many",)
cli._LazyGroup.get_command = lambda group, context, name: many
sys.argv = ["xgbpatch", "many"]
cli.main()
"""
COMMANDS = pytest.mark.parametrize(
    "command",
    [
        pytest.param(["-m", "xgbpatch", "versions", "--region", "us-west-2"], id="a few lines"),
        pytest.param(["-m", "xgbpatch", "--help"], id="help"),
        pytest.param(["-m", "xgbpatch", "build", "--help"], id="help of a command"),
        pytest.param(["-m", "xgbpatch", "--version"], id="version"),
        pytest.param(["-c", MANY_LINES], id="more than any buffer holds"),
    ],
)


def ended(command: list[str], stdout: int) -> tuple[int, str]:
    completed = subprocess.run(
        [sys.executable, *command], stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=120, check=False
    )
    lines = completed.stderr.splitlines()
    return completed.returncode, "\n".join(
        line for line in lines if line != "cleaned" and not line.startswith("Source: ")
    )


@COMMANDS
def test_a_reader_that_has_gone_ends_the_command_quietly(command):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert ended(command, writer) == (141, "")
    finally:
        os.close(writer)


@COMMANDS
def test_a_full_disk_below_stdout_is_a_sentence(command):
    with open("/dev/full", "wb") as full:
        code, stderr = ended(command, full.fileno())
    assert (code, stderr) == (
        FileError.exit_code, "xgbpatch: the output could not be written: No space left on device",
    )  # fmt: skip


def test_work_that_is_cut_short_cleans_up():
    reader, writer = os.pipe()
    os.close(reader)
    completed = subprocess.run([sys.executable, "-c", MANY_LINES], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert completed.stderr == b"cleaned\n"


def test_a_reader_of_stderr_that_has_gone_keeps_the_exit_code():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "xgbpatch", "build", "--version", "9.9-9", "--region", "us-west-2"]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    completed = subprocess.run(command, stdout=subprocess.PIPE, stderr=writer, env=buffered, check=False)
    os.close(writer)
    assert (completed.returncode, completed.stdout) == (2, b"")
