"""scripts/try says first what it needs and changes, refuses at once what cannot be, and ends with commands that work.

Programs of the machine are stubs; tests/e2e and tests/engine run the real ones.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from xgbpatch.cli import cli

ROOT = Path(__file__).resolve().parents[2]
PUSHED = f"123456789012.dkr.ecr.us-west-2.amazonaws.com/xgbpatch/sagemaker-xgboost@sha256:{'a' * 64}"
BUILT = "xgbpatch/sagemaker-xgboost:3.2-0-0123456789ab-89abcdef"
BASE = "246618743249.dkr.ecr.us-west-2.amazonaws.com/sagemaker-xgboost:3.2-0"
XGBPATCH = f"""#!/bin/sh
echo "$*" >>"$LOG"
case "$1 $2" in
    build*) echo {BUILT} ;;
    push*) echo {PUSHED} ;;
    "sandbox env") echo 'export POINTED=yes' ;;
esac
"""


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if text.startswith("#!") else f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def checkout(tmp_path):
    """A checkout with a blank in its path, whose scripts only make what they would make."""
    folder = tmp_path / "a checkout"
    for name in ("scripts/try", "xgbpatch/standin/versions.toml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    program(folder / "scripts/engine", 'echo "engine" >>"$LOG"')
    program(folder / "stub", XGBPATCH)
    program(
        folder / "scripts/setup",
        'mkdir -p .venv/bin && cp stub .venv/bin/xgbpatch && cp python .venv/bin && echo setup >>"$LOG"',
    )
    program(
        folder / "python",
        'echo "$1 $ABALONE_IMAGE" >>"$LOG"; mkdir -p "$ABALONE_OUTPUT/pictures" && touch "$ABALONE_OUTPUT/report.html"',
    )
    program(tmp_path / "bin/docker", f'[ "$2" != inspect ] || echo {BASE}')
    program(tmp_path / "bin/uname", "echo Linux x86_64")
    program(tmp_path / "bin/df", "echo Avail; echo '  500'")
    program(tmp_path / "release", "ID=debian VERSION_CODENAME=bookworm")
    return folder


def run(checkout, *arguments, command=("scripts/try",)):
    """In a mount namespace whose /etc/os-release is the file `release`."""
    release = checkout.parent / "release"
    shell = 'mount --bind "$0" /etc/os-release && exec "$@"'
    return subprocess.run(
        ["unshare", "--mount", "bash", "-c", shell, release, *command, *arguments], cwd=checkout,
        env={"PATH": f"{checkout.parent}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(checkout),
             "LOG": str(checkout.parent / "log")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def calls(checkout):
    path = checkout.parent / "log"
    return path.read_text().splitlines() if path.exists() else []


def test_it_says_what_it_needs_before_it_does_anything(checkout):
    completed = run(checkout, "3.2-0")
    assert completed.returncode == 0, completed.stderr
    announced = completed.stderr.partition("\n== ")[0]
    for words in (
        "minutes", " GB of free disk", "root on Debian (bullseye bookworm trixie)", "docker.io", "debootstrap",
        "Docker Engine", "/etc/hosts: four lines", "/etc/docker/certs.d", "until", ".venv and the folder abalone",
    ):  # fmt: skip
        assert words in announced
    assert run(checkout, "--help").stdout == announced


NO_DEBIAN = 'this is "ubuntu noble"'


@pytest.mark.parametrize(
    ("path", "text", "version", "message", "next_step"),
    [
        ("bin/id", "echo 1000", "3.2-0", "this user is not root", "as root"),
        ("bin/uname", "echo Darwin arm64", "3.2-0", 'this is "Darwin arm64"', "virtual machine"),
        ("bin/df", "echo Avail; echo '  5'", "3.2-0", "5 GB are free", "Make room"),
        ("release", "ID=ubuntu VERSION_CODENAME=noble", "3.2-0", NO_DEBIAN, "with Debian: bullseye bookworm trixie"),
        ("bin/other", "", "0.90-1", 'there is no stand-in base of "0.90-1"', "1.2-2 1.3-1 1.5-1 1.7-1 3.0-5 3.2-0"),
    ],
    ids=["user", "machine", "disk", "system", "version"],
)
def test_what_cannot_be_is_refused_before_anything_is_installed(checkout, path, text, version, message, next_step):
    program(checkout.parent / path, text)
    completed = run(checkout, version)
    assert completed.returncode == 1
    assert f"try: {message}" in completed.stderr
    assert next_step in completed.stderr.splitlines()[-1]
    assert calls(checkout) == []


def test_the_engine_is_looked_for_before_anything_is_installed(checkout):
    program(checkout / "scripts/engine", "exit 1")
    assert run(checkout).returncode == 1
    assert calls(checkout) == []


def test_the_summary_names_what_exists_and_commands_that_work_as_printed(checkout):
    completed = run(checkout)
    assert completed.returncode == 0, completed.stderr
    summary, _, commands = completed.stderr.partition("\n== done in ")[2].partition("goes on.")
    named = dict(re.findall(r"^(base|image|report) +(.*)$", summary, re.M))
    assert named == {"base": BASE, "image": PUSHED, "report": str(checkout / "abalone/report.html")}
    assert (checkout / "abalone/report.html").exists()
    assert f"examples/abalone/walkthrough.py {PUSHED}" in calls(checkout)
    assert BUILT not in summary + commands, "its name was removed, to pull what was pushed"
    assert f"From this shell, in {checkout}:" in commands
    lines = [line for line in commands.splitlines()[1:] if line]
    assert [line.split()[-1] for line in lines] == ['env)"', PUSHED, "shap", "--images"]
    before = len(calls(checkout))
    completed = run(checkout, command=("bash", "-euc", "\n".join([*lines, 'test "$POINTED" = yes'])))
    assert completed.returncode == 0, completed.stderr
    assert len(calls(checkout)) == before + len(lines)


@pytest.mark.parametrize("line", re.findall(r'\.venv/bin/xgbpatch ([^)"\n]+)', (ROOT / "scripts/try").read_text()))
def test_a_printed_command_parses(line):
    words = shlex.split(line.replace("$pushed", PUSHED).replace("$version", "3.2-0"))
    command: click.Command = cli
    context = click.Context(cli, info_name="xgbpatch")
    while isinstance(command, click.Group):
        subcommand = command.get_command(context, words.pop(0))
        assert subcommand is not None
        command = subcommand
    command.make_context(command.name, words, parent=context)
