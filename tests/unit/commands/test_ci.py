"""`xgbpatch ci init`: a file in its place, never over another, and only values that such a file can carry."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
import yaml
from click.testing import CliRunner

from xgbpatch import ci as pipelines
from xgbpatch.ci import PipelineKind, render
from xgbpatch.cli import cli
from xgbpatch.commands import ci
from xgbpatch.errors import ConfigurationError

ROLE = "arn:aws:iam::123456789012:role/ci/xgbpatch"
ORIGIN = "xgbpatch[packages] @ git+https://git.example/xgbpatch@0a1b2c3"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def init(*arguments):
    words = ["ci", "init", "--requirement", ORIGIN, *map(str, arguments)]
    return CliRunner().invoke(cli, words, catch_exceptions=True)


@pytest.mark.parametrize("kind", PipelineKind)
def test_init_writes_the_file_and_prints_its_path(tmp_path, kind):
    result = init(kind.value, "--directory", tmp_path)
    assert result.stdout == f"{tmp_path / kind.path}\n"
    assert (tmp_path / kind.path).read_text() == render(kind, ORIGIN)


def test_a_second_init_changes_nothing(tmp_path):
    init("github", "--directory", tmp_path)
    before = (tmp_path / PipelineKind.GITHUB.path).stat()
    result = init("github", "--directory", tmp_path)
    after = (tmp_path / PipelineKind.GITHUB.path).stat()
    assert (result.exit_code, result.stderr.partition(";")[0]) == (0, "up to date")
    assert (after.st_ino, after.st_mtime_ns, after.st_mode) == (before.st_ino, before.st_mtime_ns, before.st_mode)


def test_a_file_that_says_something_else_is_kept(tmp_path):
    path = tmp_path / PipelineKind.GITLAB.path
    path.write_bytes(b"mine: \xff\n")
    with pytest.raises(ConfigurationError, match="says something else") as caught:
        ci.write(path, "theirs", force=False)
    assert "--force" in caught.value.next_step
    assert path.read_bytes() == b"mine: \xff\n"


def test_force_replaces_and_leaves_nothing_else(tmp_path):
    (tmp_path / PipelineKind.GITLAB.path).write_text("mine")
    assert init("gitlab", "--directory", tmp_path, "--force").exit_code == 0
    assert os.listdir(tmp_path) == [PipelineKind.GITLAB.path]
    assert yaml.safe_load((tmp_path / PipelineKind.GITLAB.path).read_text())["keep-current"]


def test_a_path_through_a_file_is_an_error_and_no_traceback(tmp_path):
    (tmp_path / ".github").write_text("")
    with pytest.raises(ConfigurationError, match="cannot write"):
        ci.write(tmp_path / ".github" / "workflows" / "xgbpatch.yml", "", force=False)


def test_role_and_region_are_written_down_or_read_from_variables():
    with_both = render(PipelineKind.GITHUB, ORIGIN, ROLE, "eu-west-1")
    assert (f"role-to-assume: {ROLE}" in with_both, "aws-region: eu-west-1" in with_both) == (True, True)
    assert "vars." not in with_both
    without = render(PipelineKind.GITHUB, ORIGIN)
    assert "${{ vars.XGBPATCH_ROLE_ARN }}" in without
    assert "${{ vars.AWS_REGION }}" in without
    job = yaml.safe_load(render(PipelineKind.GITLAB, ORIGIN, ROLE, "eu-west-1"))["keep-current"]
    assert (job["variables"]["AWS_ROLE_ARN"], job["variables"]["AWS_REGION"]) == (ROLE, "eu-west-1")


@pytest.mark.parametrize("kind", PipelineKind)
def test_what_was_asked_for_is_installed_and_said(tmp_path, kind):
    result = init(kind.value, "--directory", tmp_path)
    assert (
        f"install {'--quiet ' if kind is not PipelineKind.GITHUB else ''}'{ORIGIN}'"
        in (tmp_path / kind.path).read_text()
    )
    assert f"it installs {ORIGIN}\n" in result.stderr


@pytest.mark.parametrize(
    ("record", "words"),
    [
        pytest.param(None, "==1.2.3", id="from an index"),
        pytest.param(
            {"url": "https://git.example/x.git", "vcs_info": {"vcs": "git", "commit_id": COMMIT}},
            f" @ git+https://git.example/x.git@{COMMIT}",
            id="from a commit, whatever was asked for",
        ),
        pytest.param(
            {"url": "ssh://git@git.example/x", "vcs_info": {"vcs": "git", "commit_id": COMMIT}, "subdirectory": "a"},
            f" @ git+ssh://git@git.example/x@{COMMIT}#subdirectory=a",
            id="from a folder of a commit",
        ),
        pytest.param(
            {"url": "https://files.example/x-1-py3-none-any.whl", "archive_info": {}},
            " @ https://files.example/x-1-py3-none-any.whl",
            id="from an address",
        ),
    ],
)
def test_a_pipeline_installs_what_wrote_it(record, words):
    requirement = pipelines.from_record("1.2.3", json.dumps(record) if record else "")
    assert requirement == f"xgbpatch[packages]{words}"
    assert f"'{requirement}'" in render(PipelineKind.CODEBUILD, requirement)


@pytest.mark.parametrize(
    "origin",
    [
        {"dir_info": {"editable": True}},
        {"dir_info": {}},
        {"archive_info": {}},
        {"vcs_info": {"vcs": "git", "commit_id": COMMIT}},
    ],
    ids=["editable", "a folder", "a file", "a repository on this machine"],
)
def test_what_is_on_this_machine_alone_cannot_be_the_default(origin):
    with pytest.raises(ConfigurationError, match="cannot reach") as caught:
        pipelines.from_record("1.2.3", json.dumps({"url": "file:///somewhere/xgbpatch", **origin}))
    assert '--requirement "xgbpatch[packages] @ git+https://' in caught.value.next_step


def test_the_next_step_after_an_install_from_a_checkout_works_as_printed(tmp_path):
    """`pip install .` is what the README says; the pipeline then installs the commit of that checkout."""
    checkout = tmp_path / "a check out"
    git = ["git", "-C", str(checkout), "-c", "user.name=a", "-c", "user.email=a@b.example"]
    subprocess.run(["git", "init", "--quiet", str(checkout)], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "one"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    with pytest.raises(ConfigurationError) as caught:
        pipelines.from_record("1.2.3", json.dumps({"url": checkout.as_uri(), "dir_info": {}}))
    options = caught.value.next_step.partition(": ")[2]
    shell = ["bash", "-euc", f'printf "%s\\n" {options}']
    option, requirement = subprocess.run(shell, capture_output=True, text=True, check=True).stdout.splitlines()
    assert option == "--requirement"
    assert requirement == f"xgbpatch[packages] @ git+https://github.com/xgbpatch/xgbpatch@{commit}"
    assert requirement in render(PipelineKind.GITHUB, requirement)


def test_the_default_is_that_of_the_installed_xgbpatch(tmp_path, monkeypatch):
    class Installed:
        version = "9.8"

        def read_text(self, name):
            assert name == "direct_url.json"

    monkeypatch.setattr(pipelines, "distribution", lambda name: Installed())
    result = CliRunner().invoke(cli, ["ci", "init", "github", "--directory", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "pipx install 'xgbpatch[packages]==9.8'" in (tmp_path / PipelineKind.GITHUB.path).read_text()


@pytest.mark.parametrize("kind", PipelineKind)
def test_a_folder_without_a_configuration_is_warned_of(tmp_path, kind):
    alone = init(kind.value, "--directory", tmp_path).stderr
    assert ("there is no" in alone and "xgbpatch.toml" in alone) == (kind is not PipelineKind.STARTER)
    (tmp_path / "xgbpatch.toml").write_text("")
    assert "warning" not in init(kind.value, "--directory", tmp_path).stderr


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        pytest.param(PipelineKind.GITHUB, {"role_arn": "xgbpatch"}, "--role-arn", id="a role without its ARN"),
        pytest.param(
            PipelineKind.GITHUB,
            {"role_arn": f"{ROLE}\n      evil: 1"},
            "--role-arn",
            id="a role with a line break",
        ),
        pytest.param(PipelineKind.GITLAB, {"region": "Oregon"}, '"Oregon" is not a region', id="no region"),
        pytest.param(PipelineKind.GITLAB, {"requirement": "xgbpatch'; curl evil"}, "--requirement", id="a quote"),
        pytest.param(PipelineKind.GITLAB, {"requirement": "xgbpatch # not this"}, "--requirement", id="a YAML comment"),
        pytest.param(PipelineKind.GITLAB, {"requirement": ""}, "--requirement", id="nothing to install"),
        pytest.param(PipelineKind.GITLAB, {"requirement": "a: b"}, "--requirement", id="a YAML key"),
        pytest.param(PipelineKind.GITLAB, {"requirement": "--index-url=x"}, "--requirement", id="an option of pip"),
        pytest.param(PipelineKind.CODEBUILD, {"role_arn": ROLE}, "takes no role", id="a role for a template"),
        pytest.param(PipelineKind.STARTER, {"region": "us-west-2"}, "takes no role", id="a region for a template"),
    ],
)
def test_what_no_pipeline_can_carry_is_refused(kind, options, says):
    with pytest.raises(ConfigurationError, match=says):
        render(kind, **{"requirement": ORIGIN, **options})


def test_an_unknown_service_is_named_with_the_known_ones():
    result = init("jenkins")
    assert result.exit_code == 2
    assert "codebuild" in result.stderr
