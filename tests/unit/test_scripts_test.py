"""scripts/test clears away what a killed run has left in memory, runs every stage, and names those that failed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from xgbpatch.sandbox import hosts, state

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts/test"
ENDS = f"source <(sed -n '/^end_and_remove()/,/^}}/p; /^failed=/,/^trap finish/p' {SCRIPT})"
FUNCTIONS = f"""source <(sed -n '/^process()/,/^}}/p; /^end_and_remove()/,/^# folder_in_memory/p' {SCRIPT})
set -euo pipefail
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/ns/pid").exists(), reason="/dev/shm and /proc are Linux's")


def shell(words: str) -> str:
    completed = subprocess.run(["bash", "-c", FUNCTIONS + words], cwd=ROOT, capture_output=True, text=True, check=True)
    return completed.stdout.strip()


def test_folders_of_runs_that_ended_go_and_those_of_others_stay(tmp_path):
    ended_owner = shell("process $$")
    namespace, number, start = shell(f"process {os.getpid()}").split()
    owners = {
        "ended": ended_owner,
        "followed": f"{namespace} {number} {int(start) - 1}",  # of a process that had our number
        "runs": f"{namespace} {number} {start}",
        "elsewhere": f"pid:[1] {ended_owner.partition(' ')[2]}",  # in another container: nobody can tell
        "begins": "",
    }
    for name, owner in owners.items():
        (tmp_path / f"xgbpatch-{name}/folder").mkdir(parents=True)
        (tmp_path / f"xgbpatch-{name}/.owner").write_text(owner and f"{owner}\n")
    for name in ("xgbpatch-other", "somebody-elses"):
        (tmp_path / name).mkdir()
    shell(f"remove_abandoned {tmp_path}")
    left = {path.name.removeprefix("xgbpatch-") for path in tmp_path.iterdir()}
    assert left == {"runs", "elsewhere", "begins", "other", "somebody-elses"}


@pytest.mark.skipif(not (ROOT / ".venv/bin/xgbpatch").exists(), reason="scripts/setup comes before it in scripts/test")
def test_its_sandboxes_and_programs_end_with_it(tmp_path):
    """Else its registries hold port 443, and its names stay in the hosts file: the next run's sandboxes fail."""
    abandoned = tmp_path / "xgbpatch-killed"
    directory = abandoned / "pytest-of-root/state0/sandbox"
    directory.mkdir(parents=True)
    (abandoned / ".owner").write_text(shell("process $$") + "\n")
    hosts_file = tmp_path / "hosts"
    hosts_file.write_text("127.0.0.1 localhost\n")
    registry = state.RegistryHost("1.dkr.ecr.eu-west-3.amazonaws.com", "127.100.16.2", "1", "eu-west-3")
    waits = "import time; time.sleep(3600)"
    listens = state.start("registry", [sys.executable, "-c", waits], os.environ, tmp_path / "log")
    state.Journal(
        state.SandboxState("1", directory, hosts_file, registries=(registry,), processes=(listens,), complete=True)
    )
    hosts.write(hosts_file, directory, (registry,))
    other = state.start("other", [sys.executable, "-c", waits, f"{abandoned}/config.yml"], os.environ, tmp_path / "log")
    try:
        shell(f"remove_abandoned {tmp_path}")
        assert not state.running(listens)
        assert not state.running(other)
    finally:
        state.stop([listens, other])
    assert hosts_file.read_text() == "127.0.0.1 localhost\n"
    assert not abandoned.exists()


def test_nothing_is_there_to_remove(tmp_path):
    shell(f"remove_abandoned {tmp_path}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("commands", "code", "words"),
    [
        ("stage=lint; check true; stage=unit; check true", 0, "All passed"),
        (
            "stage=lint; check false; check false; stage=unit; check echo ran; stage=bench; check false",
            1,
            ": lint, bench",
        ),
        ("stage=lint; check false; stage=engine; nothing-of-this-name", 127, ": lint, engine"),
    ],
    ids=("none fails", "two fail", "what the rest needs fails"),
)
def test_every_stage_runs_and_the_last_line_names_those_that_failed(tmp_path, commands, code, words):
    program = f"set -euo pipefail; step() {{ :; }}; records=$(mktemp -d); scratch=; {ENDS}\n{commands}\nwhole=yes"
    completed = subprocess.run(["bash", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert completed.returncode == code
    last = completed.stdout.splitlines()[-1]
    assert last.startswith("FAILED" if code else "All passed")
    assert words in last
    assert ("ran" in completed.stdout) == ("echo ran" in commands)


@pytest.mark.parametrize("ignored", [False, True], ids=["Ctrl-C is heard", "Ctrl-C is ignored"])
def test_a_run_that_a_signal_ends_did_not_pass(tmp_path, ignored):
    """The tests of its stage get what Ctrl-C gives, to remove their containers; below nohup they only end."""
    (tmp_path / "tests.py").write_text(
        "import os, signal, time\n"
        "try:\n    os.kill(os.getppid(), signal.SIGTERM)\n    time.sleep(600)\n"
        "finally:\n    print('takes its containers down')\n"
    )
    begins = f"set -euo pipefail; step() {{ :; }}; declare -A pids=(); records=$(mktemp -d); scratch=; {ENDS}"
    program = f"{begins}\nstage=engine; sleep 1 & pids[docs]=$!\ncheck {sys.executable} tests.py; whole=yes"
    handling = signal.SIG_IGN if ignored else signal.SIG_DFL
    ended = subprocess.run(
        ["bash", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, handling),
    )  # fmt: skip
    assert ended.returncode == -signal.SIGTERM, ended.stderr
    assert ("takes its containers down" in ended.stdout) != ignored
    assert ended.stdout.splitlines()[-1].startswith("FAILED")
    assert ended.stdout.splitlines()[-1].endswith(": engine")


def test_the_site_is_built_beside_lint_and_told_in_its_turn(tmp_path):
    """Whole, with its own seconds and its own failure."""
    for name in ("ruff", "mypy", "lint-imports", "vermin"):
        (tmp_path / name).write_text("#!/bin/sh\nuntil [ -e begun ]; do sleep 0.01; done\necho lints\n")
    (tmp_path / "mkdocs").write_text("#!/bin/sh\ntouch begun\nsleep 2\necho a link leads nowhere >&2\nexit 1\n")
    for path in tmp_path.iterdir():
        path.chmod(0o755)
    functions = f"source <(sed -n '/^step()/,/^}}/p; /^failed=/,/^trap finish/p' {SCRIPT})"
    stages = f"source <(sed -n '/^if chosen docs/,/^paths=/p' {SCRIPT})"
    made = f"set -euo pipefail; stage=; records=$PWD; scratch=$PWD/scratch; chosen() {{ :; }}; {functions}\n{stages}"
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["bash", "-c", f"{made}\nstep ''; whole=yes; cat stages; rm() {{ :; }}"]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stderr
    lint, docs = ended.stdout.partition("== docs")[::2]
    assert lint.count("lints") == 5
    assert "a link leads nowhere" in docs
    assert ended.stdout.splitlines()[-1].endswith(": docs")
    seconds = dict(reversed(line.split()) for line in (tmp_path / "stages").read_text().splitlines())
    assert int(seconds["docs"]) >= 1


@pytest.mark.parametrize("venv", [True, False], ids=["with venv", "without"])
def test_the_engine_is_seen_to_beside_setup_unless_both_would_install_from_debian(tmp_path, venv):
    """A run whose engine cannot be had ends there, and names it."""
    (tmp_path / "scripts").mkdir()
    waits = "until [ -e ../begun ]; do sleep 0.01; done\n" if venv else "[ ! -e ../begun ]\n"
    programs = {
        "scripts/setup": f"cd scripts\n{waits}touch ../set-up\n",
        "scripts/engine": "touch begun\nuntil [ -e set-up ]; do sleep 0.01; done\necho no engine can be had\nexit 1\n",
        "scripts/browser": "touch browser\n",
        "python": f"exit {0 if venv else 1}\n",
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh -e\n{text}")
        (tmp_path / name).chmod(0o755)
    functions = f"source <(sed -n '/^step()/,/^}}/p; /^failed=/,/^trap finish/p' {SCRIPT})"
    stages = f"source <(sed -n '/^engine_paths=/,/^if chosen docs/p' {SCRIPT} | sed '$d')"
    stubs = "chosen() { :; }; folder_in_memory() { mktemp -d; }; end_and_remove() { rm -r $1; }"
    program = f"set -euo pipefail; stage=; scratch=; records=$(mktemp -d); {stubs}; {functions}\n{stages}\necho goes on"
    environment = {**os.environ, "PYTHON": str(tmp_path / "python")}
    ended = subprocess.run(
        ["bash", "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1, ended.stderr
    assert (tmp_path / "set-up").exists()
    assert "no engine can be had" in ended.stdout
    assert "goes on" not in ended.stdout
    assert not (tmp_path / "browser").exists()
    assert ended.stdout.splitlines()[-1].endswith(": engine")
