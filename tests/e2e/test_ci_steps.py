"""The pipelines' own steps, taken from the rendered files and run: what follows which exit code of xgbpatch.

`xgbpatch`, `gh` and `aws` are small scripts that record how they were called; GitLab's API is a server on loopback.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from xgbpatch.ci import PipelineKind, render

DIFFERENCE = "encoder.py: decode()\n-    return 1\n+    return 2 # `$(id)` '\"~~~"
KINDS = [PipelineKind.GITHUB, PipelineKind.GITLAB, PipelineKind.CODEBUILD]
REQUIREMENT = "xgbpatch[packages]==1.0.0"
TOKEN = "glpat-not-to-be-seen"
RECORDER = f"""#!{sys.executable}
import json, os, pathlib, sys
name, arguments = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
with open(os.environ["CALLS"], "a") as calls:
    print(json.dumps([name, *arguments]), file=calls)
"""
XGBPATCH = f"""
code = int(os.environ[arguments[0].upper()])
state = {{0: "current", 10: "rebuild", 20: "drifted"}}.get(code, "error")
plan = "IMAGE  VERSION  STATE\\nfraud  3.2-0    " + os.environ.get("STATE", state) + {chr(10) * 2 + DIFFERENCE!r}
outcome = "IMAGE  OUTCOME\\nfraud  " + {{0: "renewed", 20: "drifted"}}.get(code, "failed")
if code < 128:
    print(plan if arguments[0] == "plan" else outcome)
sys.exit(code)
"""
GH = """
if arguments[:2] == ["issue", "list"]:
    print(os.environ.get("OPEN_ISSUE", ""))
if "--body-file" in arguments:
    body = pathlib.Path(arguments[arguments.index("--body-file") + 1]).read_text()
    pathlib.Path(os.environ["CALLS"]).with_name("body").write_text(body)
"""
AWS = """
text = pathlib.Path(arguments[arguments.index("--message") + 1].removeprefix("file://")).read_text()
pathlib.Path(os.environ["CALLS"]).with_name("body").write_text(text)
"""


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short tags as their plain values."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: f"!{suffix}")


def script(kind: PipelineKind) -> str:
    """The job's own step, as the service would run it."""
    document = yaml.load(render(kind, REQUIREMENT), _Loader)
    if kind is PipelineKind.GITHUB:
        return document["jobs"]["keep-current"]["steps"][-1]["run"]
    if kind is PipelineKind.GITLAB:
        return document["keep-current"]["script"][0]
    buildspec = yaml.safe_load(document["Resources"]["Project"]["Properties"]["Source"]["BuildSpec"])
    return buildspec["phases"]["build"]["commands"][0]


@dataclass(frozen=True)
class Stage:
    """A folder in which a step runs, with the recorders on PATH and whatever else its environment holds."""

    folder: Path
    environment: dict[str, str]

    def run(self, kind: PipelineKind, shell: str = "sh", **codes: object) -> subprocess.CompletedProcess[str]:
        environment = {**self.environment, **{name: str(code) for name, code in codes.items()}}
        command = [shell, "-c", script(kind)]
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=600
        )

    def calls(self, program: str) -> list[list[str]]:
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [rest for name, *rest in map(json.loads, lines) if name == program]

    def text(self, name: str) -> str:
        return (self.folder / name).read_text()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, rest in {"xgbpatch": XGBPATCH, "gh": GH, "aws": AWS}.items():
        (programs / name).write_text(RECORDER + rest)
        (programs / name).chmod(0o755)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "report.md"),
        "CI_API_V4_URL": "http://127.0.0.1:9",
        "CI_PROJECT_ID": "7",
        "XGBPATCH_TOPIC": "arn:aws:sns:us-west-2:123456789012:xgbpatch",
    }
    return Stage(tmp_path, environment)


@contextmanager
def gitlab(open_issues: list[Mapping[str, object]]) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """GitLab's issues, as much of them as the step uses; gives its address and what it was asked."""
    requests: list[dict[str, object]] = []

    class Issues(BaseHTTPRequestHandler):
        def answer(self) -> None:
            fields = parse_qs(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())
            requests.append({"verb": self.command, "path": self.path, "token": self.headers["PRIVATE-TOKEN"], **fields})
            answer: object = open_issues if self.command == "GET" else {"iid": 12}
            body = json.dumps(answer).encode()
            self.send_response(200 if self.headers["PRIVATE-TOKEN"] == TOKEN else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = answer

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Issues) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api/v4", requests
        server.shutdown()


@pytest.mark.parametrize("kind", KINDS)
def test_current_images_are_left_alone(stage: Stage, kind: PipelineKind):
    result = stage.run(kind, PLAN=0)
    assert result.returncode == 0, result.stderr
    assert stage.calls("xgbpatch") == [["plan", "--all"]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_what_is_behind_is_rebuilt_and_reported(stage: Stage, kind: PipelineKind, shell: str):
    result = stage.run(kind, shell, PLAN=10, REBUILD=0)
    assert result.returncode == 0, result.stderr
    assert stage.calls("xgbpatch") == [["plan", "--all"], ["rebuild", "--all"]]
    assert "fraud  renewed" in (result.stdout if kind is PipelineKind.CODEBUILD else stage.text("report.md"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_options_of_rebuild_are_words(stage: Stage, kind: PipelineKind):
    stage.run(kind, PLAN=10, REBUILD=0, XGBPATCH_REBUILD_OPTIONS="--builder registry --no-test")
    assert stage.calls("xgbpatch")[1] == ["rebuild", "--all", "--builder", "registry", "--no-test"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_rebuild_fails_the_job_with_its_exit_code_after_the_report(stage: Stage, kind: PipelineKind):
    result = stage.run(kind, PLAN=10, REBUILD=8)
    assert result.returncode == 8
    assert "exit 8" in (result.stdout if kind is PipelineKind.CODEBUILD else stage.text("report.md"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_plan_that_says_nothing_fails_the_job_and_rebuilds_nothing(stage: Stage, kind: PipelineKind):
    assert stage.run(kind, PLAN=143).returncode == 143
    assert stage.calls("xgbpatch") == [["plan", "--all"]]
    assert stage.calls("gh") == stage.calls("aws") == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rebuild", [0, 4])
def test_an_image_that_cannot_be_looked_at_does_not_hold_the_others_back(
    stage: Stage, kind: PipelineKind, rebuild: int
):
    result = stage.run(kind, PLAN=4, REBUILD=rebuild)
    assert result.returncode == 4, result.stderr
    assert stage.calls("xgbpatch")[:2] == [["plan", "--all"], ["rebuild", "--all"]]
    assert f"exit {rebuild}" in (result.stdout if kind is PipelineKind.CODEBUILD else stage.text("report.md"))
    assert stage.calls("gh") == stage.calls("aws") == [], "it may have drifted as well as not"


def test_drift_that_the_rebuild_met_is_told_where_another_image_cannot_be_looked_at(stage: Stage):
    assert stage.run(PipelineKind.GITHUB, PLAN=4, REBUILD=20).returncode == 4
    assert stage.calls("gh")[-1][:2] == ["issue", "create"]


def test_drift_is_told_where_another_image_cannot_be_looked_at(stage: Stage):
    assert stage.run(PipelineKind.GITHUB, PLAN=4, REBUILD=4, STATE="drifted").returncode == 4
    assert stage.calls("gh")[-1][:2] == ["issue", "create"]
    assert stage.run(PipelineKind.CODEBUILD, PLAN=4, REBUILD=4, STATE="drifted").returncode == 4
    assert stage.calls("aws")[-1][:2] == ["sns", "publish"]


def test_gitlab_without_a_token_ends_with_the_code_of_what_failed(stage: Stage):
    assert stage.run(PipelineKind.GITLAB, PLAN=4, REBUILD=4, STATE="drifted").returncode == 4
    assert stage.run(PipelineKind.GITLAB, PLAN=20, REBUILD=7).returncode == 7


def test_drift_opens_an_issue_with_the_difference(stage: Stage):
    result = stage.run(PipelineKind.GITHUB, PLAN=20, REBUILD=20)
    assert result.returncode == 0, result.stderr
    listed, label, created = stage.calls("gh")
    assert (listed[:2], label[:3]) == (["issue", "list"], ["label", "create", "xgbpatch-drift"])
    assert created[:2] == ["issue", "create"]
    assert created[created.index("--label") + 1] == "xgbpatch-drift"
    assert DIFFERENCE in stage.text("body")
    assert "::warning" in result.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_that_drifted_does_not_hold_the_others_back_and_is_never_accepted(stage: Stage, kind: PipelineKind):
    stage.run(kind, PLAN=20, REBUILD=20)
    assert stage.calls("xgbpatch") == [["plan", "--all"], ["rebuild", "--all"]]


def test_drift_and_a_failure_give_an_issue_and_a_failed_job(stage: Stage):
    assert stage.run(PipelineKind.GITHUB, PLAN=20, REBUILD=7).returncode == 7
    assert stage.calls("gh")[-1][:2] == ["issue", "create"]


@pytest.mark.parametrize("second", [20, 143], ids=["seen by the second plan", "the second plan fails"])
def test_drift_that_only_the_rebuild_met_is_planned_again_and_told(stage: Stage, second: int):
    program = stage.folder / "bin" / "xgbpatch"
    first = 'os.environ["PLAN"] = os.environ["SECOND"] if os.path.getsize("rebuild.txt") else "10"'
    program.write_text(RECORDER + first + XGBPATCH)
    assert stage.run(PipelineKind.GITHUB, REBUILD=20, SECOND=second).returncode == 0
    assert stage.calls("xgbpatch") == [["plan", "--all"], ["rebuild", "--all"], ["plan", "--all"]]
    assert stage.calls("gh")[-1][:2] == ["issue", "create"]
    assert (DIFFERENCE in stage.text("body")) == (second == 20)
    assert "fraud  drifted" in stage.text("body")


def test_an_open_issue_is_updated_and_no_second_one_opened(stage: Stage):
    stage.run(PipelineKind.GITHUB, PLAN=20, REBUILD=20, OPEN_ISSUE=31)
    assert stage.calls("gh")[1:] == [["issue", "edit", "31", "--body-file", "issue.md"]]
    assert DIFFERENCE in stage.text("body")


@pytest.mark.parametrize("codes", [{"PLAN": 0}, {"PLAN": 10, "REBUILD": 0}], ids=["current", "rebuilt"])
def test_the_issue_is_closed_when_the_drift_is_gone(stage: Stage, codes: dict[str, int]):
    stage.run(PipelineKind.GITHUB, **codes, OPEN_ISSUE=31)
    assert stage.calls("gh")[-1][:3] == ["issue", "close", "31"]


LONG = 'print("IMAGE VERSION STATE\\nfraud 3.2-0 drifted\\n\\n" + {text})\nsys.exit(20)\n'


def test_a_long_difference_fits_into_an_issue(stage: Stage):
    (stage.folder / "bin" / "xgbpatch").write_text(RECORDER + LONG.format(text="'x' * 200_000"))
    assert stage.run(PipelineKind.GITHUB).returncode == 0
    assert 50_000 < len(stage.text("body")) < 65_536  # what GitHub takes


@pytest.mark.parametrize("shift", range(3))
@pytest.mark.parametrize("kind", [PipelineKind.GITHUB, PipelineKind.CODEBUILD])
def test_no_character_is_cut_in_two(stage: Stage, kind: PipelineKind, shift: int):
    """The recorders read UTF-8, as the AWS CLI does, and fail on half a character."""
    program = LONG.format(text=f"'x' * {shift} + '€' * 100_000")
    (stage.folder / "bin" / "xgbpatch").write_text(RECORDER + program)
    result = stage.run(kind, PYTHONIOENCODING="utf-8")
    assert result.returncode == 0, result.stderr
    assert stage.text("body").count("€") > 19_000


@pytest.mark.parametrize(
    ("issues", "verb", "path"),
    [([], "POST", "/issues"), ([{"iid": 31}], "PUT", "/issues/31")],
    ids=["opened", "updated"],
)
def test_gitlab_gets_an_issue_by_the_project_access_token(stage: Stage, issues, verb, path):
    with gitlab(issues) as (address, requests):
        result = stage.run(PipelineKind.GITLAB, PLAN=20, REBUILD=20, CI_API_V4_URL=address, XGBPATCH_GITLAB_TOKEN=TOKEN)
    assert result.returncode == 0, result.stderr
    search, issue = requests
    assert parse_qs(urlsplit(str(search["path"])).query)["labels"] == ["xgbpatch-drift"]
    assert (issue["verb"], issue["path"]) == (verb, f"/api/v4/projects/7{path}")
    assert DIFFERENCE in issue["description"][0]
    assert TOKEN not in result.stdout + result.stderr


def test_gitlab_closes_the_issue_when_the_drift_is_gone(stage: Stage):
    with gitlab([{"iid": 31}]) as (address, requests):
        result = stage.run(PipelineKind.GITLAB, PLAN=0, CI_API_V4_URL=address, XGBPATCH_GITLAB_TOKEN=TOKEN)
    assert result.returncode == 0, result.stderr
    assert (requests[-1]["verb"], requests[-1]["state_event"]) == ("PUT", ["close"])


def test_gitlab_without_a_token_fails_the_job_and_says_which_variable_is_missing(stage: Stage):
    result = stage.run(PipelineKind.GITLAB, PLAN=20, REBUILD=20)
    assert result.returncode == 20
    assert "XGBPATCH_GITLAB_TOKEN" in result.stderr
    assert DIFFERENCE in result.stdout


def test_a_token_that_gitlab_refuses_fails_the_job(stage: Stage):
    with gitlab([]) as (address, _):
        result = stage.run(
            PipelineKind.GITLAB, PLAN=20, REBUILD=20, CI_API_V4_URL=address, XGBPATCH_GITLAB_TOKEN="expired"
        )
    assert result.returncode not in (0, 20)
    assert "401" in result.stderr


def test_codebuild_tells_the_topic_of_drift(stage: Stage):
    assert stage.run(PipelineKind.CODEBUILD, PLAN=20, REBUILD=20).returncode == 0
    (call,) = stage.calls("aws")
    assert call[:4] == ["sns", "publish", "--topic-arn", "arn:aws:sns:us-west-2:123456789012:xgbpatch"]
    assert len(call[call.index("--subject") + 1]) <= 100  # what SNS takes
    assert DIFFERENCE in stage.text("body")


@pytest.mark.parametrize("kind", KINDS)
def test_the_steps_are_portable_shell(stage: Stage, kind: PipelineKind, shellcheck: Callable[[str], str]):
    assert shellcheck(f"#!/bin/sh\n{script(kind)}") == ""


def test_the_setup_of_gitlab_is_sound_shell(shellcheck: Callable[[str], str]):
    lines = yaml.safe_load(render(PipelineKind.GITLAB, REQUIREMENT))["keep-current"]["before_script"]
    assert shellcheck("#!/bin/bash\n" + "\n".join(lines)) == ""


DAEMON = """#!/bin/sh
echo "no right to start" >&2
exit 1
"""


@pytest.mark.parametrize(("answer", "code"), [("1", 3), ("0", 0)], ids=["no engine", "an engine"])
def test_gitlab_notices_an_engine_that_does_not_start(stage: Stage, answer: str, code: int):
    programs = stage.folder / "bin"
    others = ("docker", "apt-get", "sleep", "python")
    for name, text in {"dockerd": DAEMON, **dict.fromkeys(others, "#!/bin/sh\nexit ${ANSWER:-0}\n")}.items():
        (programs / name).write_text(text.replace("${ANSWER:-0}", answer if name == "docker" else "0"))
        (programs / name).chmod(0o755)
    lines = yaml.safe_load(render(PipelineKind.GITLAB, REQUIREMENT))["keep-current"]["before_script"]
    groups = {"cgroup.procs": "17\n18\n", "cgroup.controllers": "cpu memory\n", "cgroup.subtree_control": ""}
    (stage.folder / "cgroup").mkdir()
    for name, text in groups.items():
        (stage.folder / "cgroup" / name).write_text(text)
    setup = "\n".join(["set -eo pipefail", *lines]).replace("/sys/fs/cgroup", str(stage.folder / "cgroup"))
    environment = {**stage.environment, "XGBPATCH_TESTS": "true", "CI_BUILDS_DIR": str(stage.folder)}
    result = subprocess.run(
        ["bash", "-c", setup], cwd=stage.folder, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == code, result.stderr
    assert ("no right to start" in result.stderr) == bool(code)
    assert stage.text("cgroup/init/cgroup.procs").split() == ["17", "18"]
    assert stage.text("cgroup/cgroup.subtree_control") == "+cpu +memory\n"


def test_shellcheck_would_have_noticed(shellcheck: Callable[[str], str]):
    assert "SC2154" in shellcheck("#!/bin/sh\necho $never_set\n")


@pytest.fixture
def shellcheck(tmp_path: Path) -> Callable[[str], str]:
    def check(text: str) -> str:
        path = tmp_path / "step.sh"
        path.write_text(text)
        program = Path(sys.executable).with_name("shellcheck")
        result = subprocess.run([program, "--severity=style", path], capture_output=True, text=True, check=False)
        return result.stdout + result.stderr

    return check
