"""`xgbpatch ci init`: a file in its place, never over another, and only values that such a file can carry."""

from __future__ import annotations

import os
from importlib.metadata import version

import pytest
import yaml
from click.testing import CliRunner

from xgbpatch.cli import cli
from xgbpatch.commands import ci
from xgbpatch.errors import ConfigurationError
from xgbpatch.pipelines.rendering import Kind, Wishes, render

ROLE = "arn:aws:iam::123456789012:role/ci/xgbpatch"


def init(*arguments):
    return CliRunner().invoke(cli, ["ci", "init", *map(str, arguments)], catch_exceptions=True)


@pytest.mark.parametrize("kind", Kind)
def test_init_writes_the_file_and_prints_its_path(tmp_path, kind):
    result = init(kind.value, "--directory", tmp_path)
    assert result.stdout == f"{tmp_path / kind.path}\n"
    assert (tmp_path / kind.path).read_text() == render(kind, Wishes())


def test_a_second_init_changes_nothing(tmp_path):
    init("github", "--directory", tmp_path)
    before = (tmp_path / Kind.GITHUB.path).stat()
    result = init("github", "--directory", tmp_path)
    assert (result.exit_code, result.stderr) == (0, "up to date\n")
    assert (tmp_path / Kind.GITHUB.path).stat() == before


def test_a_file_that_says_something_else_is_kept(tmp_path):
    path = tmp_path / Kind.GITLAB.path
    path.write_bytes(b"mine: \xff\n")
    with pytest.raises(ConfigurationError, match="says something else") as caught:
        ci.write(path, "theirs", force=False)
    assert "--force" in caught.value.next_step
    assert path.read_bytes() == b"mine: \xff\n"


def test_force_replaces_and_leaves_nothing_else(tmp_path):
    (tmp_path / Kind.GITLAB.path).write_text("mine")
    assert init("gitlab", "--directory", tmp_path, "--force").exit_code == 0
    assert os.listdir(tmp_path) == [Kind.GITLAB.path]
    assert yaml.safe_load((tmp_path / Kind.GITLAB.path).read_text())["keep-current"]


def test_a_path_through_a_file_is_an_error_and_no_traceback(tmp_path):
    (tmp_path / ".github").write_text("")
    with pytest.raises(ConfigurationError, match="cannot write"):
        ci.write(tmp_path / ".github" / "workflows" / "xgbpatch.yml", "", force=False)


def test_role_and_region_are_written_down_or_read_from_variables():
    with_both = render(Kind.GITHUB, Wishes(role_arn=ROLE, region="eu-west-1"))
    assert (f"role-to-assume: {ROLE}" in with_both, "aws-region: eu-west-1" in with_both) == (True, True)
    assert "vars." not in with_both
    without = render(Kind.GITHUB, Wishes())
    assert "${{ vars.XGBPATCH_ROLE_ARN }}" in without
    assert "${{ vars.AWS_REGION }}" in without
    job = yaml.safe_load(render(Kind.GITLAB, Wishes(role_arn=ROLE, region="eu-west-1")))["keep-current"]
    assert (job["variables"]["AWS_ROLE_ARN"], job["variables"]["AWS_REGION"]) == (ROLE, "eu-west-1")


@pytest.mark.parametrize("kind", Kind)
def test_this_very_version_is_installed_unless_another_is_asked_for(kind):
    assert f"xgbpatch[packages]=={version('xgbpatch')}" in render(kind, Wishes())
    asked = "xgbpatch @ git+https://git.example/xgbpatch@v1.2#egg=xgbpatch"
    assert f"install {'--quiet ' if kind is not Kind.GITHUB else ''}'{asked}'" in render(
        kind, Wishes(requirement=asked)
    )


@pytest.mark.parametrize(
    ("kind", "wishes", "says"),
    [
        pytest.param(Kind.GITHUB, Wishes(role_arn="xgbpatch"), "--role-arn", id="a role without its ARN"),
        pytest.param(
            Kind.GITHUB, Wishes(role_arn=f"{ROLE}\n      evil: 1"), "--role-arn", id="a role with a line break"
        ),
        pytest.param(Kind.GITLAB, Wishes(region="Oregon"), "--region", id="no region"),
        pytest.param(Kind.GITLAB, Wishes(requirement="xgbpatch'; curl evil"), "--requirement", id="a quote"),
        pytest.param(Kind.GITLAB, Wishes(requirement="xgbpatch # not this"), "--requirement", id="a YAML comment"),
        pytest.param(Kind.GITLAB, Wishes(requirement="a: b"), "--requirement", id="a YAML key"),
        pytest.param(Kind.GITLAB, Wishes(requirement="--index-url=x"), "--requirement", id="an option of pip"),
        pytest.param(Kind.CODEBUILD, Wishes(role_arn=ROLE), "takes no role", id="a role for a template"),
        pytest.param(Kind.STARTER, Wishes(region="us-west-2"), "takes no role", id="a region for a template"),
    ],
)
def test_what_no_pipeline_can_carry_is_refused(kind, wishes, says):
    with pytest.raises(ConfigurationError, match=says):
        render(kind, wishes)


def test_an_unknown_service_is_named_with_the_known_ones():
    result = init("jenkins")
    assert result.exit_code == 2
    assert "codebuild" in result.stderr
