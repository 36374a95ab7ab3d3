"""Tests that need a dependency group, `pytest.mark.group("docs")`: the extra `test` alone does not bring it."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

GROUPS = {
    "docs": ("mkdocs",),
    "lint": ("importlinter",),
    "native": ("ziglang",),
    "notebook": ("jupytext", "papermill", "shap", "matplotlib"),
}


def left_out(environment: Path = Path(sys.prefix)) -> dict[str, str]:
    """The groups whose tests are left out, each with a package that is missing.

    There are none in an environment of scripts/setup, which installs all groups: such a test fails there.
    """
    if (environment / ".made-from").exists():
        return {}
    missing = {group: [name for name in packages if not find_spec(name)] for group, packages in GROUPS.items()}
    return {group: names[0] for group, names in missing.items() if names}
