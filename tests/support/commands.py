"""The installed command, as a user runs it."""

import subprocess
import sys
from pathlib import Path


def xgbpatch(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    return subprocess.run(command_line(*arguments), capture_output=True, text=True, timeout=1500, check=False)


def command_line(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("xgbpatch")), *arguments]
