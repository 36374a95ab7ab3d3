"""The installed command, as a user runs it, or the same words in the process of the test."""

import subprocess
import sys
from pathlib import Path

import pytest

from xgbpatch import cli


def xgbpatch(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    return subprocess.run(command_line(*arguments), capture_output=True, text=True, timeout=1500, check=False)


def in_process(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int | str | None, str, str]:
    """Exit code, stdout and stderr of the command in this process, which has loaded all that it needs."""
    code: int | str | None = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["xgbpatch", *map(str, arguments)])
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def command_line(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("xgbpatch")), *arguments]
