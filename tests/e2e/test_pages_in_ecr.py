"""Commands of pages that need ECR and no engine, run as they stand: bases by hand stand where AWS publishes its own.

`build` gets one option more, `--builder registry`: tests/engine has images with these features and fixes by Docker.
"""

from __future__ import annotations

from dataclasses import replace

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

VERSION, OLD = "3.2-0", "1.5-1"
BASES = {
    OLD: HandBase("3.8.13", glibc="2.27", distributions={"xgboost": "1.5.2", "numpy": "1.19.5"}),
    VERSION: HandBase(),
}
REFERENCE = "docs/commands.md"
PAGES = sorted({block.of for block in run_by(__file__)} - {REFERENCE})
BEHIND = 10  # what `plan` exits with
CONFIGURATION = """
version = "3.2-0"
features = ["shap"]
[images.fraud]
repository = "team/reference"
"""


@pytest.fixture
def depot(ecr, tmp_path, monkeypatch):
    """The user's registries, and a folder with the file of docs/training.md; AWS's registry has the bases."""
    monkeypatch.chdir(tmp_path)
    (profit,) = (block.text for block in blocks("python") if "def profit" in block.text)
    (tmp_path / "my_module.py").write_text(profit)
    services = depot_of_user(tmp_path / "cache")
    for version, base in BASES.items():
        put(services, catalogue.image_uri(version, REGION), base.image)
    return services


def test_the_builds_of_a_page_give_images_that_remember_what_was_asked(depot, tmp_path, capfd):
    """One test for all pages: what these images share is in the registry once."""
    builds = 0
    for page in PAGES:
        for block in run_by(__file__, page):
            for words in commands(block.script):
                assert words[0] == "xgbpatch", block.name
                code, printed = run(words, tmp_path, capfd)
                assert code == 0
                if words[1] == "build":
                    check(load_image(depot.registry, ImageReference.parse(printed.strip())).provenance, words)
                    builds += 1
    assert builds >= len(list((ROOT / "docs/fixes").glob("*.md")))


def test_the_examples_of_the_reference_follow_a_base_that_moves(depot, tmp_path, capfd):
    """In the reference's order, `build` first; then AWS's tag moves. The file of settings has one image."""
    codes = {}
    for words in (words for block in run_by(__file__, REFERENCE) for words in commands(block.script)):
        if words[0] == "xgbpatch":
            if words[1] == "plan" and "plan" not in codes:
                put(depot, catalogue.image_uri(VERSION, REGION), replace(BASES[VERSION], patches=".1").image)
            code, printed = run(words, tmp_path, capfd)
            codes.setdefault(words[1], set()).add(code)
            if words[1] == "build" and "--json" not in words:
                check(load_image(depot.registry, ImageReference.parse(printed.strip())).provenance, words)
    assert codes == {"build": {0}, "plan": {BEHIND}, "rebuild": {0}, "usage": {0}, "prune": {0}}
    assert run(["xgbpatch", "plan"], tmp_path, capfd)[0] == 0


def run(words, folder, capfd):
    """Exit code and stdout; a command that names no version finds the file of settings."""
    if "--version" not in words:
        (folder / "xgbpatch.toml").write_text(CONFIGURATION)
    more = ["--builder", "registry"] if words[1] == "build" and "--builder" not in words else []
    try:
        cli.main([*words[1:], *more], standalone_mode=False)
        code = 0
    except SystemExit as ended:
        code = ended.code
    (folder / "xgbpatch.toml").unlink(missing_ok=True)
    return code, capfd.readouterr().out


def check(provenance, words):
    options = {
        option: words[words.index(option) + 1].split(",") for option in ("--feature", "--fix") if option in words
    }
    fixes = options.get("--fix", [])
    expected = [fix.name for fix in fixes_of(provenance.version)] if fixes == ["all"] else fixes
    assert sorted(provenance.fixes) == sorted(expected), words
    assert list(provenance.features) == options.get("--feature", []), words
