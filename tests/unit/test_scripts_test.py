"""scripts/test clears away what a killed run has left in memory, runs every stage, and names those that failed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/test"
ENDS = f"source <(sed -n '/^failed=/,/^trap finish/p' {SCRIPT})"
FUNCTIONS = f"source <(sed -n '/^process()/,/^}}/p; /^remove_abandoned()/,/^}}/p' {SCRIPT}); set -euo pipefail\n"

pytestmark = pytest.mark.skipif(not Path("/proc/self/ns/pid").exists(), reason="/dev/shm and /proc are Linux's")


def shell(words: str) -> str:
    return subprocess.run(["bash", "-c", FUNCTIONS + words], capture_output=True, text=True, check=True).stdout.strip()


def test_folders_of_runs_that_ended_go_and_those_of_others_stay(tmp_path):
    ended = shell("process $$")
    namespace, number, start = shell(f"process {os.getpid()}").split()
    owners = {
        "ended": ended,
        "followed": f"{namespace} {number} {int(start) - 1}",  # of a process that had our number
        "runs": f"{namespace} {number} {start}",
        "elsewhere": f"pid:[1] {ended.partition(' ')[2]}",  # in another container: nobody can tell
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


def test_nothing_is_there_to_remove(tmp_path):
    shell(f"remove_abandoned {tmp_path}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("commands", "code", "said"),
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
def test_every_stage_runs_and_the_last_line_names_those_that_failed(tmp_path, commands, code, said):
    made = f"set -euo pipefail; step() {{ :; }}; records=$(mktemp -d); scratch=$(mktemp -d); {ENDS}\n{commands}"
    ended = subprocess.run(["bash", "-c", made], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == code
    last = ended.stdout.splitlines()[-1]
    assert last.startswith("FAILED" if code else "All passed")
    assert said in last
    assert ("ran" in ended.stdout) == ("echo ran" in commands)
