"""scripts/changelog-section prints one version's part of CHANGELOG.md, or says that it is missing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/changelog-section"
CHANGELOG = """# Changelog

What changed.

## Unreleased

## 1.10.0 - 2026-12-24

### Added

- `plan`: a thing.
  And its second line.

### Fixed

- Another.

## [1.1.0] - 2026-11-01

- Brackets.

## 1.0.0

- The first.
"""


@pytest.fixture
def section(tmp_path):
    """version → the finished process, on the changelog above."""
    (tmp_path / "scripts").mkdir()
    script = shutil.copy(SCRIPT, tmp_path / "scripts")
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)

    def run(*arguments):
        command = [sys.executable, script, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize(
    ("version", "text"),
    [
        ("1.10.0", "### Added\n\n- `plan`: a thing.\n  And its second line.\n\n### Fixed\n\n- Another.\n"),
        ("1.1.0", "- Brackets.\n"),
        ("1.0.0", "- The first.\n"),
    ],
    ids=["with a date", "in brackets", "the last"],
)
def test_section_is_printed_without_its_heading(section, version, text):
    result = section(version)
    assert (result.returncode, result.stdout) == (0, text)


@pytest.mark.parametrize("version", ["2.0.0", "1.10", "1.1", "1x0.0", "Unreleased"])
def test_missing_or_empty_section_exits_1_and_names_the_version(section, version):
    result = section(version)
    assert (result.returncode, result.stdout) == (1, "")
    assert f'"{version}"' in result.stderr


def test_no_version_exits_1_with_the_usage(section):
    assert (section().returncode, section().stdout) == (1, "")
    assert "Usage" in section().stderr
