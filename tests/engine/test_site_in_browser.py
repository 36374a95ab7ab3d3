"""The documentation site in a browser: no page is wider than a phone, no script fails, nothing comes from elsewhere.

It needs no engine; it stands here because this stage has a browser: scripts/test runs scripts/browser first.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.browser import chromium
from support.documentation import ROOT

PAGES = ("index", "tutorial", "comparison", "commands", "python-api", "how-to/shap-endpoint", "explanation/shap-values")
ELSEWHERE = "performance.getEntriesByType('resource').map(each => each.name).filter(name => !name.startsWith('file:'))"
SEEN = "[...document.querySelectorAll('img')].every(image => image.naturalWidth > 100)"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """As the stage docs of scripts/test has just built it, or built here."""
    if (built := os.environ.get("XGBPATCH_TEST_SITE")) and Path(built, "index.html").is_file():
        return Path(built)
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_pages_fit_two_widths_and_load_nothing_from_elsewhere(site, tmp_path):
    with chromium(tmp_path / "profile") as tab:
        for page in PAGES:
            for width in (1200, 400):
                tab.open(site / f"{page}.html", width)
                assert tab.evaluate("document.documentElement.scrollWidth") <= width, (page, width)
                assert tab.evaluate(ELSEWHERE) == [], page
                assert tab.evaluate(SEEN), page
                assert tab.problems == [], page
