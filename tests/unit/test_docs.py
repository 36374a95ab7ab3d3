"""The documents are held to the command line: every option has a line, and every command line in them parses."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from xgbpatch.cli import cli
from xgbpatch.config.loader import VARIABLES
from xgbpatch.config.settings import KEYS
from xgbpatch.overlays import settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "examples/abalone/README.md")


def command_lines() -> list[tuple[str, str]]:
    """Every `xgbpatch …` line of a fenced block, comments and prompts left out."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```(?:bash|sh|console)\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
            for line in re.sub(r"\\\n\s*", "", block).splitlines():
                match = re.match(r"(?:\$ )?(xgbpatch [^#|>&;]*)", line.strip())
                if match:
                    found.append((f"{page.name}: {match[1].strip()}", match[1].strip()))
    return found


def test_the_command_reference_is_current():
    result = subprocess.run(
        [sys.executable, ROOT / "scripts/docs", "--check"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_the_pages_hold_command_lines():
    assert len(command_lines()) > 10


@pytest.mark.parametrize("line", [pytest.param(line, id=name) for name, line in command_lines()])
def test_a_documented_command_line_parses(line):
    words = shlex.split(line)[1:]
    command: click.Command = cli
    context = click.Context(cli, info_name="xgbpatch")
    while isinstance(command, click.Group) and words:
        name = words.pop(0)
        found = command.get_command(context, name)
        assert found is not None, f"no command {name!r}"
        command = found
    command.make_context(command.name, words, resilient_parsing=False, parent=context)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_of_the_project_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_every_page_is_linked_from_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f"docs/{page.name}" in text, page.name


def test_every_runtime_variable_has_its_row():
    text = (ROOT / "docs/features.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(XGBPATCH_\w+)` \|(.*)\|$", text, re.M))
    assert set(rows) == {variable.name for variable in settings.VARIABLES}
    for variable in settings.VARIABLES:
        for value in (*variable.allowed, variable.default):
            assert f"`{value}`" in rows[variable.name] or not value, (variable.name, value)


def test_every_build_variable_and_key_is_documented():
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    for variable in VARIABLES:
        assert f"`{variable.name}`" in text, variable.name
    for key in KEYS:
        assert f"`{key}`" in text, key
