"""Forks end as Python's own programs do: the same exit code and the same words on both streams."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
BEGINNING = "import atexit, sys, threading, time\nprint('begins')\n"
PROGRAMS = {
    "comes to its end": "pass",
    "exits with a number": "sys.exit(3)",
    "exits with a negative number": "sys.exit(-1)",
    "exits with a large number": "sys.exit(259)",
    "exits with nothing": "sys.exit()",
    "exits with a truth": "sys.exit(True)",
    "exits with words": "sys.exit('words')",
    "fails": "raise ValueError('fails')",
    "has something to do at its end": "atexit.register(print, 'at its end')",
    "has a thread that goes on": "threading.Thread(target=lambda: (time.sleep(0.2), print('a thread'))).start()",
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_a_fork_ends_as_a_program(tmp_path, program):
    file = tmp_path / "program.py"
    file.write_text(BEGINNING + program + "\n")
    ends = f"import sys; sys.path.insert(0, {str(TESTS)!r}); from support.quick_end import run_and_end"
    quick = f"{ends}; run_and_end(lambda: exec(compile(open({str(file)!r}).read(), {str(file)!r}, 'exec'), {{}}))"
    usual, quickly = (
        subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
        for words in ([str(file)], ["-c", quick])
    )
    assert quickly.returncode == usual.returncode
    assert quickly.stdout == usual.stdout
    assert "begins" in usual.stdout
    assert quickly.stderr.splitlines()[-1:] == usual.stderr.splitlines()[-1:]
