"""The installed command, as a user runs it, or the same words in the process of the test."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from support import command_forks
from xgbpatch import cli


def xgbpatch(
    *arguments: str, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a process of its own, by default with this one's variables and folder.

    It is a fork, which spares it the imports; the script itself is started where `command_line` is used.
    """
    variables = os.environ if environment is None else environment
    return command_forks.run(command_line(*arguments), variables, folder or Path.cwd())


def in_process(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int | str | None, str, str]:
    """Exit code, stdout and stderr of the command in this process, which has loaded all that it needs."""
    code = _exit_code(map(str, arguments))
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def command_line(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("xgbpatch")), *arguments]


def completed_in_process(
    *arguments: str, folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The same in the form of `xgbpatch`, in another folder and with more variables."""
    stdout, stderr = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(stdout), redirect_stderr(stderr):
        patch.chdir(folder or Path.cwd())
        for name, value in (environment or {}).items():
            patch.setenv(name, value)
        code = _exit_code(arguments)
    assert isinstance(code, int), code
    texts = [stream.buffer.getvalue().decode() for stream in (stdout, stderr)]
    return subprocess.CompletedProcess(["xgbpatch", *arguments], code, *texts)


def _exit_code(arguments: Iterable[str]) -> int | str | None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["xgbpatch", *arguments])
        try:
            cli.main()
        except SystemExit as end:
            return end.code
    return 0
