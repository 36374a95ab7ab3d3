"""The fixes that can be asked for, their way from the command line into the image, and what an image remembers."""

import ast
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from xgbpatch import catalogue, provenance
from xgbpatch.build.definition import spec_digest
from xgbpatch.commands.fixes import command
from xgbpatch.config.loader import load
from xgbpatch.config.settings import Flags
from xgbpatch.errors import ConfigurationError
from xgbpatch.inspection.facts import Facts, PythonFacts
from xgbpatch.overlays import fixes, settings
from xgbpatch.patch.compose import compose
from xgbpatch.patch.features import FIXES, fixes_of
from xgbpatch.spec import Spec

ROOT = Path(__file__).resolve().parents[3]
MODULES = {path.stem: path for path in (ROOT / "xgbpatch/overlays/fixes").glob("*.py") if not path.stem.startswith("_")}
OLDEST = Spec("1.2-2", "eu-west-1")
ENVIRON = {"AWS_REGION": "eu-west-1"}


def one(tmp_path, *names, **flags):
    (spec,) = load(Flags(fixes=names, **flags), ENVIRON, tmp_path)
    return spec.fixes


def names(*fixes):
    return tuple(sorted(fix.name for fix in fixes))


def test_all_means_what_is_known_of_the_version(tmp_path):
    for info in catalogue.versions():
        assert one(tmp_path, "all", version=info.version) == names(*fixes_of(info.version))
    assert names(*fixes_of("1.2-2")) != names(*fixes_of("3.2-0"))


def test_names_may_stand_together_and_twice(tmp_path):
    fix_names = one(tmp_path, "mme-errors,libsvm-skew", "mme-errors", version="3.2-0")
    assert fix_names == ("libsvm-skew", "mme-errors")
    assert one(tmp_path, "all,mme-errors", version="3.2-0") == names(*fixes_of("3.2-0"))


def test_a_bug_that_the_version_does_not_have_is_refused_with_the_versions_that_do(tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        one(tmp_path, "libsvm-skew", version="1.5-1")
    assert caught.value.message == '--fix: "libsvm-skew" is not a bug of version "1.5-1": it was seen on 3.2-0'
    assert "mme-errors" in caught.value.next_step


def test_on_a_base_of_the_users_own_the_fixes_judge_themselves(tmp_path):
    own = {"base_image": "my-base:1.5-1"}
    assert one(tmp_path, "libsvm-skew", **own) == ("libsvm-skew",)
    assert one(tmp_path, "all", **own) == names(*fixes_of("1.5-1"))
    assert one(tmp_path, "all", base_image="my-base:9.9-9") == names(*FIXES.values())


def test_a_wrong_name_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(ConfigurationError, match=r'--fix: "libsvm-scew" is not a fix') as caught:
        one(tmp_path, "libsvm-scew", version="3.2-0")
    assert 'Did you mean "libsvm-skew"?' in caught.value.next_step


def test_the_file_and_the_variable_ask_for_fixes_too(tmp_path):
    (tmp_path / "xgbpatch.toml").write_text('version = "3.2-0"\nfixes = ["all"]')
    (of_file,) = load(Flags(), ENVIRON, tmp_path)
    (of_variable,) = load(Flags(), {**ENVIRON, "XGBPATCH_FIXES": "libsvm-skew"}, tmp_path)
    assert (of_file.fixes, of_variable.fixes) == (names(*fixes_of("3.2-0")), ("libsvm-skew",))


def composed(spec):
    python = PythonFacts("3.12.1", "/opt/venv/bin/python", "/opt/venv", "/s", "x86_64", "2.34")
    facts = Facts("sha256:0", python, {}, {}, frozenset(), {}, {"PATH": "/usr/bin"}, {})
    return compose(spec, facts)


def test_an_image_with_fixes_alone_brings_its_own_serve_and_names_them():
    plain = composed(OLDEST)
    patch = composed(replace(OLDEST, fixes=("mme-errors", "recordio-growth")))
    (serve,) = {file.target for file in patch.files} - {file.target for file in plain.files}
    assert serve == "/opt/xgbpatch/bin/serve"
    assert {
        **plain.environment,
        "PATH": "/opt/xgbpatch/bin:/usr/bin",
        "XGBPATCH_FIXES": "mme-errors,recordio-growth",
    } == (dict(patch.environment))
    assert settings.read(patch.environment).fixes == ("mme-errors", "recordio-growth")


def test_fixes_name_another_image_whatever_their_order():
    first, second = (Spec("3.2-0", "", fixes=fixes) for fixes in (("a", "b"), ("b", "a")))
    assert spec_digest(first, [], "") == spec_digest(second, [], "") != spec_digest(Spec("3.2-0", ""), [], "")


def test_an_image_remembers_its_fixes():
    origin = provenance.Provenance(
        "b", "d", "3.2-0", "1", "s", "p", "o", ("shap",), ("libsvm-skew", "mme-errors"), (), ""
    )
    assert provenance.write(origin)["io.xgbpatch.fixes"] == "libsvm-skew,mme-errors"
    assert provenance.read(provenance.write(origin)) == origin


def run(*arguments):
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result


@pytest.mark.parametrize("name", FIXES)
def test_the_command_says_what_each_bug_looks_like_and_where_its_page_is(name):
    (paragraph,) = (part for part in run().stdout.split("\n\n") if part.startswith(f"{name}\n"))
    fix = FIXES[name]
    assert paragraph.rstrip("\n").endswith(f" {fix.page}"), "an address stays in one piece"
    for text in (fix.symptom, fix.summary, ", ".join(fix.versions)):
        assert text in " ".join(paragraph.split())


@pytest.mark.parametrize("number", [info.version for info in catalogue.versions()])
def test_a_version_is_shown_its_own_bugs(number):
    document = json.loads(run("--version", number, "--json").stdout)
    assert [entry["name"] for entry in document["fixes"]] == [fix.name for fix in fixes_of(number)]
    assert all(number in entry["versions"] for entry in document["fixes"])


def test_a_version_without_known_bugs_says_so_on_stderr():
    assert "No bug is known of 0.90-1" in run("--version", "0.90-1").stderr


def test_an_unknown_version_is_refused():
    with pytest.raises(ConfigurationError, match=r'"1\.5" is not a version'):
        CliRunner().invoke(command, ["--version", "1.5"], catch_exceptions=False)


def test_versions_are_versions_of_the_official_image():
    known = [info.version for info in catalogue.versions()]
    for fix in FIXES.values():
        assert list(fix.versions) == [version for version in known if version in fix.versions]


def test_every_fix_has_a_module_and_every_module_a_fix():
    assert set(MODULES) == {fix.module for fix in fixes.FIXES.values()}


@pytest.mark.parametrize("path", [pytest.param(path, id=name) for name, path in sorted(MODULES.items())])
def test_a_module_holds_what_the_installer_asks_for(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    names = [name.replace("-", "_") for name, fix in fixes.FIXES.items() if fix.module == path.stem]
    expected = {f"{name}_not_needed" for name in names} | {f"install_{name}" for name in names}
    assert functions >= expected
    assert expected == {name for name in functions if name.endswith("_not_needed") or name.startswith("install_")}


def test_where_every_fix_acts_is_known_without_importing_it():
    assert set(fixes.FIXES) == set(FIXES)


@pytest.mark.parametrize("path", [pytest.param(path, id=name) for name, path in sorted(MODULES.items())])
def test_fixes_that_share_a_module_act_at_the_same_moment(path):
    """Where one of them is on, the others' code is imported too: never earlier, nor in another kind of process."""
    training = [fixes.TRAINING in fix.stages for fix in fixes.FIXES.values() if fix.module == path.stem]
    assert len(set(training)) == 1
    before = [fixes.LOADING in fix.stages for fix in fixes.FIXES.values() if fix.module == path.stem]
    assert len(set(before)) == 1


@pytest.mark.parametrize("name", FIXES)
def test_a_page_tells_the_symptom_the_versions_and_how_to_see_the_fix(name):
    text = (ROOT / FIXES[name].page.removeprefix(f"{provenance.PROJECT}/blob/main/")).read_text(encoding="utf-8")
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.*)$", text, re.M) == [
        "Symptom",
        "Versions",
        "Cause",
        "What the fix does",
        "How to see it",
    ]
    versions = re.search(r"^## Versions\n+(.*?)\n\n", text, re.M | re.S)
    assert re.findall(r"\d+\.\d+-\d", versions[1]) == list(FIXES[name].versions)
    assert f"--fix {name}" in text


def test_the_index_links_every_page():
    text = (ROOT / "docs/fixes/README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[([a-z0-9-]+)\]\(\1\.md\)", text, re.M) == list(FIXES)


@pytest.mark.parametrize("name", FIXES)
def test_every_fix_is_tested_against_the_base(name):
    tests = [*(ROOT / "tests/overlays").glob("test_fixes*.py"), *(ROOT / "tests/engine").glob("test_fixes*.py")]
    assert any(f'"{name}"' in path.read_text(encoding="utf-8") for path in tests)
