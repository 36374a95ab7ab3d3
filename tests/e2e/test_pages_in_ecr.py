"""Commands of pages that need ECR and no engine, run as they stand: bases by hand stand where AWS publishes its own.

`build` gets one option more, `--builder registry`: tests/engine has images with these features and fixes by Docker.
"""

from __future__ import annotations

import pytest

from support.aws import REGION
from support.documentation import ROOT, blocks, commands, run_by
from support.handmade import put
from support.handmade_bases import HandBase
from support.patched_images import depot_of_user
from xgbpatch import catalogue
from xgbpatch.cli import cli
from xgbpatch.patch.features import fixes_of
from xgbpatch.reference import ImageReference
from xgbpatch.registry.client import load_image

VERSION = "3.2-0"
PAGES = sorted({block.of for block in run_by(__file__)})


@pytest.fixture
def depot(ecr, tmp_path, monkeypatch):
    """The user's registries, and a folder with the file of docs/training.md; AWS's registry has a base."""
    monkeypatch.chdir(tmp_path)
    (profit,) = (block.text for block in blocks("python") if "def profit" in block.text)
    (tmp_path / "my_module.py").write_text(profit)
    services = depot_of_user(tmp_path / "cache")
    put(services, catalogue.image_uri(VERSION, REGION), HandBase().image)
    return services


def test_the_builds_of_a_page_give_images_that_remember_what_was_asked(depot, capfd):
    """One test for all pages: what these images share is in the registry once."""
    builds = 0
    for page in PAGES:
        for block in run_by(__file__, page):
            for words in commands(block.script):
                assert words[0] == "xgbpatch", block.name
                more = ["--builder", "registry"] if words[1] == "build" else []
                cli.main([*words[1:], *more], standalone_mode=False)
                printed = capfd.readouterr().out
                if more:
                    check(load_image(depot.registry, ImageReference.parse(printed.strip())).provenance, words)
                    builds += 1
    assert builds >= len(list((ROOT / "docs/fixes").glob("*.md")))


def check(provenance, words):
    asked = {option: words[words.index(option) + 1].split(",") for option in ("--feature", "--fix") if option in words}
    fixes = asked.get("--fix", [])
    expected = [fix.name for fix in fixes_of(VERSION)] if fixes == ["all"] else fixes
    assert sorted(provenance.fixes) == sorted(expected), words
    assert list(provenance.features) == asked.get("--feature", []), words
