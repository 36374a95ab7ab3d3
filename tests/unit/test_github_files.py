"""What GitHub and pre-commit read in this repository keeps to its schema and runs what it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support.published_schemas import check

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"
RELEASE = GITHUB / "workflows/release.yml"
SCHEMAS = {
    "vendor.github-workflows": sorted((GITHUB / "workflows").iterdir()),
    "vendor.dependabot": [GITHUB / "dependabot.yml"],
    "vendor.github-issue-config": [GITHUB / "ISSUE_TEMPLATE/config.yml"],
    "vendor.github-issue-forms": [GITHUB / "ISSUE_TEMPLATE/bug.yml", GITHUB / "ISSUE_TEMPLATE/feature.yml"],
}
FILES = [(schema, path) for schema, paths in SCHEMAS.items() for path in paths]


def checked(schema, path):
    return check(path, "--builtin-schema", schema)


def step(name):
    """The shell text of a step of the release workflow."""
    jobs = yaml.safe_load(RELEASE.read_text())["jobs"].values()
    (text,) = [step["run"] for job in jobs for step in job["steps"] if step.get("name") == name]
    return text


def run_step(name, tag, folder):
    environment = {**os.environ, "GITHUB_REF_NAME": tag}
    command = ["bash", "-e", "-o", "pipefail", "-c", step(name)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("schema", "path"), FILES, ids=[path.name for _, path in FILES])
def test_file_keeps_to_the_published_schema(schema, path):
    result = checked(schema, path)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("schema", SCHEMAS)
def test_schema_notices_an_unknown_key(tmp_path, schema):
    document = yaml.safe_load(SCHEMAS[schema][0].read_text())
    if schema == "vendor.github-workflows":
        document["on"] = document.pop(True)  # YAML 1.1 reads `on` so
    (tmp_path / "file.yml").write_text(yaml.safe_dump({**document, "no-such-key": 1}))
    assert checked(schema, tmp_path / "file.yml").exit_code == 1


def test_every_issue_template_is_checked():
    assert {path for _, path in FILES} >= set((GITHUB / "ISSUE_TEMPLATE").iterdir())


@pytest.mark.parametrize("path", SCHEMAS["vendor.github-workflows"], ids=lambda path: path.name)
def test_every_action_is_pinned_by_commit_with_its_version_beside_it(path):
    uses = re.findall(r"uses: (.*)", path.read_text())
    assert uses
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line) for line in uses), uses


def test_one_action_has_one_version_in_all_workflows():
    uses = {line for path in SCHEMAS["vendor.github-workflows"] for line in re.findall(r"uses: (.*)", path.read_text())}
    assert len(uses) == len({line.partition("@")[0] for line in uses})


def test_release_publishes_by_trusted_publishing_alone():
    workflow = yaml.safe_load(RELEASE.read_text())
    assert workflow["permissions"] == {}
    permissions = {name: job["permissions"] for name, job in workflow["jobs"].items()}
    assert permissions == {
        "build": {"contents": "read"},
        "publish": {"id-token": "write"},
        "release": {"contents": "write"},
    }
    assert workflow["jobs"]["publish"]["environment"]["name"] == "pypi"
    assert "secrets." not in RELEASE.read_text()


def test_release_job_order_is_build_publish_release():
    jobs = yaml.safe_load(RELEASE.read_text())["jobs"]
    assert {name: job.get("needs") for name, job in jobs.items()} == {
        "build": None,
        "publish": "build",
        "release": "publish",
    }


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the step reads TOML with the runner's Python, 3.12")
@pytest.mark.parametrize(("tag", "code"), [("v1.2.3", 0), ("v1.2.4", 1), ("1.2.3", 1)])
def test_release_refuses_a_tag_that_is_not_the_version(tmp_path, tag, code):
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    result = run_step("The tag names the version in pyproject.toml", tag, tmp_path)
    assert result.returncode == code, result.stderr
    assert ("1.2.3" in result.stdout) == bool(code)


@pytest.mark.parametrize(("tag", "code"), [("v1.2.3", 0), ("v1.2.4", 1)])
def test_release_refuses_a_version_without_a_changelog_section(tmp_path, tag, code):
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/changelog-section", tmp_path / "scripts")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3\n\n- A change.\n")
    result = run_step("The changelog has a section of that version", tag, tmp_path)
    assert result.returncode == code, result.stderr
    assert (tmp_path / "notes.md").read_text() == ("" if code else "- A change.\n")


def test_release_steps_are_sound_shell(tmp_path):
    program = Path(sys.executable).with_name("shellcheck")
    for job in yaml.safe_load(RELEASE.read_text())["jobs"].values():
        for run in (step["run"] for step in job["steps"] if "run" in step):
            (tmp_path / "step.sh").write_text(f"#!/bin/bash\n{run}")
            result = subprocess.run([program, tmp_path / "step.sh"], capture_output=True, text=True, check=False)
            assert (result.returncode, result.stdout) == (0, "")


def test_commit_hooks_run_what_the_lint_step_runs():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    entries = {hook["id"]: hook["entry"] for hook in repository["hooks"]}
    assert repository["repo"] == "local"
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}
    docs = entries.pop("docs")
    assert docs == ".venv/bin/python scripts/docs --check"
    lint = (ROOT / "scripts/test").read_text()
    assert {entry.removeprefix(".venv/bin/") for entry in entries.values()} == {
        "ruff check .",
        "ruff format --check .",
        "mypy",
        "lint-imports",
    }
    for entry in entries.values():
        assert re.search(rf"^\s*check {re.escape(entry.removeprefix('.venv/bin/'))}$", lint, re.M), entry
