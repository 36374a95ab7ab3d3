"""A pipeline's own step, run as the service runs it, with the real xgbpatch on a real registry.

Recorded are `gh` and `aws` alone: the issue and the message. Nothing is tested here by an engine (`--no-test`).
"""

import json
import os
import subprocess
import sys

import pytest
import yaml

from support.commands import command_line
from support.handmade_bases import SERVE_UTILS, HandBase
from support.rebuilding import OLD, ImageRepository
from support.registries import registry
from xgbpatch.ci import PipelineKind, render

DRIFTED = OLD.with_module(SERVE_UTILS, "def predict(model,", "def predict(model, more,")
OPTIONS = "--builder registry --no-test"
RECORDER = f"""#!{sys.executable}
import json, pathlib, sys
here = pathlib.Path(sys.argv[0])
arguments = sys.argv[1:]
files = [pathlib.Path(word.removeprefix("file://")) for word in arguments if word.endswith("issue.md")]
with here.with_name("calls").open("a") as calls:
    print(json.dumps([here.name, arguments[:2], *(file.read_text() for file in files)]), file=calls)
"""


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Three images that nobody has published yet, and the job's first run."""
    folder = tmp_path_factory.mktemp("job")
    with registry(folder) as started:
        image_repository = ImageRepository(started, folder)
        yield image_repository, Job(image_repository, PipelineKind.GITHUB)


@pytest.fixture
def image_repository(first):
    """After that first run; what a test does to bases and configuration is taken back."""
    image_repository, _ = first
    yield image_repository
    image_repository.write(image_repository.loopback.host)
    for name in image_repository.names:
        image_repository.move(name, OLD)


def step(kind):
    text = render(kind, "xgbpatch[packages]==1.0.0")
    if kind is PipelineKind.GITHUB:
        return yaml.safe_load(text)["jobs"]["keep-current"]["steps"][-1]["run"]
    from cfnlint.decode import cfn_yaml  # takes a second of every worker that collects this file

    source = cfn_yaml.loads(text)["Resources"]["Project"]["Properties"]["Source"]
    return yaml.safe_load(source["BuildSpec"])["phases"]["build"]["commands"][0]


class Job:
    """One run of the step: what it ended with, reported, and asked of `gh` or `aws`."""

    def __init__(self, image_repository, kind):
        programs = image_repository.folder / "bin"
        programs.mkdir(exist_ok=True)
        before, after = command_line(), ["--registry", image_repository.loopback.host]
        wrapper = f'#!/bin/sh\nname=$1; shift\nexec {" ".join(before)} "$name" {" ".join(after)} "$@"\n'
        for name, text in {"xgbpatch": wrapper, "gh": RECORDER, "aws": RECORDER}.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        for left in (programs / "calls", image_repository.folder / "summary.md"):
            left.unlink(missing_ok=True)
        environment = {
            **image_repository.environ(),
            "PATH": f"{programs}:{os.environ['PATH']}",
            "GITHUB_STEP_SUMMARY": str(image_repository.folder / "summary.md"),
            "XGBPATCH_REBUILD_OPTIONS": OPTIONS,
            "XGBPATCH_TOPIC": "arn:aws:sns:us-west-2:123456789012:xgbpatch",
        }
        shell = ["bash", "-e", "-c"] if kind is PipelineKind.GITHUB else ["sh", "-c"]
        completed = subprocess.run(
            [*shell, step(kind)],
            cwd=image_repository.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        self.code, self.said, self.log = completed.returncode, completed.stdout, completed.stderr
        summary, calls = image_repository.folder / "summary.md", programs / "calls"
        self.report = summary.read_text() if summary.exists() else self.said
        self.calls = [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []


def published(image_repository):
    return {
        name: {tag for tag in image_repository.loopback.tags(name) if not tag.startswith("sha256-")}
        for name in image_repository.names
    }


def test_the_first_run_publishes_every_image(first):
    image_repository, job = first
    assert job.code == 0, job.log
    assert "Rebuilt (exit 0)" in job.report
    assert all(published(image_repository).values())
    assert [call[1] for call in job.calls] == [["issue", "list"]]


def test_a_run_that_finds_everything_current_writes_nothing(image_repository):
    Job(image_repository, PipelineKind.GITHUB)
    before = image_repository.loopback.writes()
    job = Job(image_repository, PipelineKind.CODEBUILD)
    assert (job.code, job.calls) == (0, []), job.log
    assert "Every image is current" in job.report
    assert image_repository.loopback.writes() == before


@pytest.mark.parametrize("kind", [PipelineKind.GITHUB, PipelineKind.CODEBUILD])
def test_an_image_whose_base_moved_is_renewed_and_the_others_stay(image_repository, kind):
    before = published(image_repository)
    image_repository.move("risk", HandBase(patches=f".{kind.value}"))
    job = Job(image_repository, kind)
    assert job.code == 0, job.log
    after = published(image_repository)
    assert {name: len(after[name] - before[name]) for name in after} == {"churn": 0, "fraud": 0, "risk": 1}
    assert [call[1] for call in job.calls] == ([["issue", "list"]] if kind is PipelineKind.GITHUB else [])


def test_a_drifted_image_gets_an_issue_and_no_push(image_repository):
    before = published(image_repository)
    image_repository.move("fraud", DRIFTED)
    job = Job(image_repository, PipelineKind.GITHUB)
    assert job.code == 0, job.log
    assert [call[1] for call in job.calls] == [["issue", "list"], ["label", "create"], ["issue", "create"]]
    assert "def predict(model, more," in job.calls[-1][-1]
    assert published(image_repository) == before


def test_an_image_that_is_missing_fails_the_job_after_the_drift_is_told_and_the_third_renewed(image_repository):
    before = published(image_repository)
    path = image_repository.folder / "xgbpatch.toml"
    path.write_text(path.read_text().replace("base-churn", "gone"))
    image_repository.move("fraud", DRIFTED)
    image_repository.move("risk", HandBase(patches=".missing"))
    job = Job(image_repository, PipelineKind.CODEBUILD)
    assert job.code == 4, job.log
    assert [call[1] for call in job.calls] == [["sns", "publish"]]
    assert "def predict(model, more," in job.calls[-1][-1]
    after = published(image_repository)
    assert {name: len(after[name] - before[name]) for name in after} == {"churn": 0, "fraud": 0, "risk": 1}
