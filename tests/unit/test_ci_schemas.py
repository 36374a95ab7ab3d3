"""The pipelines keep to the published schemas, pinned actions and the least permissions; so does our own workflow."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from xgbpatch.pipelines.rendering import Kind, Wishes, render

OWN = Path(__file__).resolve().parents[2] / ".github/workflows/ci.yml"
FULL = Wishes("arn:aws:iam::123456789012:role/xgbpatch", "us-west-2", "xgbpatch @ git+https://git.example/x@v1")
SCHEMAS = {
    Kind.GITHUB: ("--builtin-schema", "vendor.github-workflows"),
    Kind.GITLAB: ("--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"),
}


def checked(path, kind):
    command = [sys.executable, "-m", "check_jsonschema", *SCHEMAS[kind], str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def workflows():
    return [OWN.read_text(), render(Kind.GITHUB, Wishes()), render(Kind.GITHUB, FULL)]


@pytest.mark.parametrize("kind", SCHEMAS)
@pytest.mark.parametrize("wishes", [Wishes(), FULL], ids=["from variables", "written down"])
def test_pipelines_keep_to_the_published_schema(tmp_path, kind, wishes):
    path = tmp_path / "pipeline.yml"
    path.write_text(render(kind, wishes))
    result = checked(path, kind)
    assert result.returncode == 0, result.stdout


def test_the_schema_would_have_noticed(tmp_path):
    path = tmp_path / "pipeline.yml"
    path.write_text(render(Kind.GITHUB, Wishes()).replace("runs-on:", "run-on:"))
    assert checked(path, Kind.GITHUB).returncode != 0


def test_our_own_workflow_keeps_to_the_schema_and_runs_what_ci_runs():
    assert checked(OWN, Kind.GITHUB).returncode == 0
    (job,) = yaml.safe_load(OWN.read_text())["jobs"].values()
    assert ".ci/run" in job["steps"][-1]["run"]


@pytest.mark.parametrize("text", workflows(), ids=["our own", "from variables", "written down"])
def test_every_action_is_pinned_by_commit_with_its_version_beside_it(text):
    uses = re.findall(r"uses: (.*)", text)
    assert uses
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line) for line in uses), uses


def test_permissions_are_none_but_those_the_job_needs():
    workflow = yaml.safe_load(render(Kind.GITHUB, Wishes()))
    assert workflow["permissions"] == {}
    assert workflow["jobs"]["keep-current"]["permissions"] == {
        "contents": "read",
        "id-token": "write",
        "issues": "write",
    }
    assert yaml.safe_load(OWN.read_text())["permissions"] == {"contents": "read"}


def test_the_user_can_start_it_and_two_runs_never_meet():
    workflow = yaml.safe_load(render(Kind.GITHUB, Wishes()))
    started = workflow[True]  # YAML 1.1 reads `on` so
    assert set(started) == {"schedule", "workflow_dispatch"}
    assert workflow["concurrency"]["cancel-in-progress"] is False
    assert yaml.safe_load(render(Kind.GITLAB, Wishes()))["keep-current"]["resource_group"]


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("word", ["AWS_ACCESS_KEY", "AWS_SECRET", "secrets."])
def test_no_pipeline_asks_for_a_stored_key(kind, word):
    assert word not in render(kind, Wishes())
