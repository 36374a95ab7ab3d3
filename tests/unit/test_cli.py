"""The command line as a whole: instant help, exit codes, and errors that name the next step."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from xgbpatch import cli, errors

HEAVY = {"docker", "boto3", "botocore", "sagemaker", "requests", "rich", "numpy", "jinja2", "xgboost", "moto"}


def processor_seconds(*command):
    """Of the whole process: what the machine does beside it does not count."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_utime + used.ru_stime


@pytest.fixture(scope="module")
def loaded_by_help():
    """Command, or an empty name for the program itself → what its help loaded that is heavy; all in one process."""
    code = (
        "import json, sys\nfrom xgbpatch.cli import COMMANDS, main\nloaded = {}\n"
        "for name in ('', *COMMANDS):\n"
        "    sys.argv = [word for word in ('xgbpatch', name, '--help') if word]\n"
        "    try: main()\n    except SystemExit as end: assert not end.code\n"
        f"    loaded[name] = sorted({HEAVY!r} & set(sys.modules))\n"
        "    for module in loaded[name]: del sys.modules[module]\n"
        "print(json.dumps(loaded))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ["", *cli.COMMANDS])
def test_help_imports_nothing_heavy(loaded_by_help, name):
    assert loaded_by_help[name] == []


def test_what_needs_no_engine_does_not_load_docker():
    code = "import sys, xgbpatch.upkeep.rebuild, xgbpatch.engine.client; print('docker' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


def test_help_takes_less_than_three_times_the_import_of_click():
    """Side by side in one run, the quickest of interleaved rounds: this is a ratio, not a time."""
    help_, bare = [], []
    for _ in range(9):
        help_.append(processor_seconds(sys.executable, "-m", "xgbpatch", "--help"))
        bare.append(processor_seconds(sys.executable, "-c", "import click"))
    assert min(help_) / min(bare) < 3


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_shows_an_example(name):
    result = CliRunner().invoke(cli.cli, [name, "--help"])
    assert result.exit_code == 0
    assert f"xgbpatch {name}" in result.output.split("Usage:")[1].split("\n", 1)[1]


def test_every_exit_code_is_in_the_table():
    table = (Path(__file__).parents[2] / "docs" / "commands.md").read_text().partition("## xgbpatch")[0]
    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert [code for code in {0, 10, 130, 141, 143, *codes} if f"| {code} | " not in table] == []


def test_exit_codes_are_distinct_and_leave_10_to_plan():
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    codes = [kind.exit_code for kind in classes]
    assert len(set(codes)) == len(codes)
    assert not {0, 10, 130, 143} & set(codes)
    assert errors.DriftError.exit_code == 20, "what plan exits with where a base drifted"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        pytest.param(["biuld"], 2, 'Did you mean "build"?', id="unknown command"),
        pytest.param(["bild"], 2, 'Did you mean "build"?', id="a letter is missing"),
        pytest.param(["test"], 2, 'Did you mean "test-local"?', id="half of a command"),
        pytest.param(["zzz"], 2, "No such command", id="nothing near"),
        pytest.param(["sandbox", "staus"], 2, "status", id="unknown command of a group"),
        pytest.param(["build", "--verison", "1.5-1"], 2, "--version", id="unknown option"),
        pytest.param(["--versoin"], 2, "--version", id="unknown option of the program"),
        pytest.param(["build", "--version", "latest", "--region", "us-west-2"], 2, "oldest", id="latest is a trap"),
        pytest.param(["build", "--version", "1.5-2", "--region", "us-west-2"], 2, '"1.5-1"', id="nearest version"),
        pytest.param(
            ["build", "--version", "3.2-0", "--region", "us-west-2", "--sbom", "no/such/folder.json"],
            2,
            "Make it first",
            id="no folder for the SBOM",
        ),
    ],
)
def test_bad_input_exits_2_and_names_the_way_out(arguments, code, says):
    result = subprocess.run([sys.executable, "-m", "xgbpatch", *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == code
    assert says in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_a_misspelt_option_gets_the_nearest_alone():
    command = [sys.executable, "-m", "xgbpatch", "build", "--versoin", "1.5-1"]
    error = subprocess.run(command, capture_output=True, text=True, check=False).stderr.splitlines()[-1]
    assert re.findall(r"--\w+", error) == ["--versoin", "--version"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_signals_end_with_their_exit_code_and_no_traceback(tmp_path, number, code):
    program = tmp_path / "program.py"
    program.write_text(
        "import time, click\nfrom xgbpatch import cli\n"
        "@cli.cli.command('wait')\ndef wait():\n"
        "    try:\n        print('ready', flush=True); time.sleep(600)\n"
        "    finally:\n        print('cleaned', flush=True)\n"
        "cli.COMMANDS += ('wait',)\ncli._LazyGroup.get_command = click.Group.get_command\n"
        "import sys; sys.argv = ['xgbpatch', 'wait']\ncli.main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stdout) == (code, "cleaned\n")
    assert stderr.strip() == "xgbpatch: interrupted"


def test_an_error_shows_what_and_the_next_step(monkeypatch, capsys):
    @click.command()
    def failing():
        raise errors.PackageError('"a" moves "b"', "Leave it.")

    monkeypatch.setattr(cli, "cli", failing)
    monkeypatch.setattr(sys, "argv", ["xgbpatch"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == errors.PackageError.exit_code
    assert capsys.readouterr().err == 'xgbpatch: "a" moves "b"\n  Leave it.\n'


def test_a_further_name_without_a_tag_is_latest_and_one_with_a_digest_is_refused():
    from xgbpatch.commands.build import further_names

    assert [str(name) for name in further_names(("a/b", "a/b:c"))] == ["a/b:latest", "a/b:c"]
    with pytest.raises(errors.ConfigurationError, match="digest"):
        further_names(("a/b@sha256:" + "0" * 64,))
