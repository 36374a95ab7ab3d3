"""The pipelines keep to the published schemas, pinned actions and the least permissions; so does our own workflow."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support.published_schemas import check
from xgbpatch.ci import PipelineKind, render
from xgbpatch.standin.versions import SUITES

OWN = Path(__file__).resolve().parents[2] / ".github/workflows/ci.yml"
REQUIREMENT = "xgbpatch[packages]==1.0.0"
FULL = ("xgbpatch @ git+https://git.example/x@v1", "arn:aws:iam::123456789012:role/xgbpatch", "us-west-2")
SCHEMAS = {
    PipelineKind.GITHUB: ("--builtin-schema", "vendor.github-workflows"),
    PipelineKind.GITLAB: ("--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"),
}


def checked(path, kind):
    return check(path, *SCHEMAS[kind])


def own_step():
    (job,) = yaml.safe_load(OWN.read_text())["jobs"].values()
    return job["steps"][-1]


def workflows():
    return [OWN.read_text(), render(PipelineKind.GITHUB, REQUIREMENT), render(PipelineKind.GITHUB, *FULL)]


@pytest.mark.parametrize("kind", SCHEMAS)
@pytest.mark.parametrize("options", [(REQUIREMENT,), FULL], ids=["from variables", "written down"])
def test_pipelines_keep_to_the_published_schema(tmp_path, kind, options):
    path = tmp_path / "pipeline.yml"
    path.write_text(render(kind, *options))
    result = checked(path, kind)
    assert result.exit_code == 0, result.output


def test_the_schema_would_have_noticed(tmp_path):
    path = tmp_path / "pipeline.yml"
    path.write_text(render(PipelineKind.GITHUB, REQUIREMENT).replace("runs-on:", "run-on:"))
    assert checked(path, PipelineKind.GITHUB).exit_code == 1


def test_our_own_workflow_keeps_to_the_schema_and_runs_every_stage():
    assert checked(OWN, PipelineKind.GITHUB).exit_code == 0
    assert 'exec scripts/test "$STAGE"' in own_step()["run"]
    script = OWN.parents[2] / "scripts/test"
    default = re.search(r"stages=\((lint[\w ]*)\)", script.read_text())
    stages = yaml.safe_load(OWN.read_text())["jobs"]["test"]["strategy"]["matrix"]["stage"]
    assert stages == default[1].split()


def test_our_own_workflow_runs_on_a_debian_that_stand_in_bases_can_be_made_on():
    name, date = re.fullmatch(r"debian:(\w+)-(\d{8})@sha256:[0-9a-f]{64}", own_step()["env"]["DEBIAN"]).groups()
    assert name in SUITES
    assert date > "2026"
    assert '"$DEBIAN" sh' in own_step()["run"]


def test_our_own_workflow_starts_an_engine_with_a_volume_for_its_images():
    words = own_step()["run"].split()
    assert words[:3] == ["docker", "run", "--rm"]
    assert "--privileged" in words
    assert words[words.index("/var/lib/docker") - 1] == "--volume"


def test_our_own_step_is_sound_shell(tmp_path):
    inner = own_step()["run"].split("sh -euc '")[1].rpartition("'")[0]
    for text in (own_step()["run"], inner):
        path = tmp_path / "step.sh"
        path.write_text(f"#!/bin/sh\n{text}")
        program = Path(sys.executable).with_name("shellcheck")
        excluded = "--exclude=SC2016"  # the quoted text is for the shell in the container
        result = subprocess.run([program, excluded, path], capture_output=True, text=True, check=False)
        assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize("text", workflows(), ids=["our own", "from variables", "written down"])
def test_every_action_is_pinned_by_commit_with_its_version_beside_it(text):
    uses = re.findall(r"uses: (.*)", text)
    assert uses
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line) for line in uses), uses


def test_permissions_are_none_but_those_the_job_needs():
    workflow = yaml.safe_load(render(PipelineKind.GITHUB, REQUIREMENT))
    assert workflow["permissions"] == {}
    assert workflow["jobs"]["keep-current"]["permissions"] == {
        "contents": "read",
        "id-token": "write",
        "issues": "write",
    }
    assert yaml.safe_load(OWN.read_text())["permissions"] == {"contents": "read"}


def test_the_user_can_start_it_and_two_runs_never_meet():
    workflow = yaml.safe_load(render(PipelineKind.GITHUB, REQUIREMENT))
    started = workflow[True]  # YAML 1.1 reads `on` so
    assert set(started) == {"schedule", "workflow_dispatch"}
    assert workflow["concurrency"]["cancel-in-progress"] is False
    assert yaml.safe_load(render(PipelineKind.GITLAB, REQUIREMENT))["keep-current"]["resource_group"]


@pytest.mark.parametrize("kind", PipelineKind)
@pytest.mark.parametrize("word", ["AWS_ACCESS_KEY", "AWS_SECRET", "secrets."])
def test_no_pipeline_asks_for_a_stored_key(kind, word):
    assert word not in render(kind, REQUIREMENT)


def test_a_role_is_taken_for_as_long_as_the_job_may_take():
    job = yaml.safe_load(render(PipelineKind.GITHUB, REQUIREMENT))["jobs"]["keep-current"]
    (options,) = [step["with"] for step in job["steps"] if "role-to-assume" in step.get("with", {})]
    assert options["role-duration-seconds"] == 60 * job["timeout-minutes"]
    assert f"MaxSessionDuration: {options['role-duration-seconds']}" in render(PipelineKind.STARTER, REQUIREMENT)


def test_the_image_that_gitlab_runs_is_pinned():
    image = yaml.safe_load(render(PipelineKind.GITLAB, REQUIREMENT))["keep-current"]["image"]
    assert re.fullmatch(r"python:3\.\d+\.\d+-bookworm@sha256:[0-9a-f]{64}", image)
