"""The doctor sees what is there, names what is missing, and changes nothing."""

import shlex
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from support.doctor import findings_of, run_doctor
from xgbpatch import doctor
from xgbpatch.doctor import Level
from xgbpatch.engine.types import EngineInformation
from xgbpatch.sandbox import VARIABLES, SandboxOptions, SandboxState, down, environment, hosts
from xgbpatch.sandbox.state import Journal, RegistryHost


class Late(BaseHTTPRequestHandler):
    """Answers everything, by a clock that stands still at a past hour."""

    def do_HEAD(self):
        self.send_response(200)
        self.end_headers()

    do_GET = do_HEAD

    def date_time_string(self, timestamp=None):
        return "Mon, 01 Jan 2024 00:00:00 GMT"

    def log_message(self, *_):
        pass


@contextmanager
def served():
    with HTTPServer(("127.0.0.1", 0), Late) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def late_aws():
    with served() as endpoint:
        yield endpoint


def test_missing_engine_region_and_credentials_exit_1_with_a_way_out():
    completed = run_doctor({"DOCKER_HOST": "unix:///nonexistent.sock"}, "--json")
    findings = findings_of(completed)
    assert completed.returncode == 1
    for name, way_out in (("engine", "docs.docker.com"), ("region", "--region"), ("credentials", "aws configure")):
        assert findings[name]["level"] == "missing"
        assert way_out in findings[name]["fix"]


def test_text_fits_80_columns_and_leaves_what_is_to_be_done_whole():
    engine = {"DOCKER_HOST": "unix:///nonexistent.sock"}
    table, fixes = run_doctor({**engine, "COLUMNS": "80"}).stdout.split("\n\n")
    assert max(map(len, table.splitlines())) <= 80
    findings = findings_of(run_doctor(engine, "--json"))
    assert f"credentials: {findings['credentials']['fix']}" in fixes.splitlines()


def test_region_that_is_none_is_missing(monkeypatch):
    monkeypatch.setenv("AWS_REGION", "us-wset-2")
    region, finding = doctor.find_region("")
    assert (region, finding.level) == ("", Level.MISSING)
    assert "us-west-2" in finding.fix


def test_region_asked_for_wins():
    region, finding = doctor.find_region("eu-west-3")
    assert (region, finding.level) == ("eu-west-3", Level.OK)


def test_clock_far_from_aws_is_missing(late_aws, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", late_aws)
    finding = doctor.check_clock("us-east-1")
    assert finding.level is Level.MISSING
    assert "ahead of" in finding.summary
    assert "timedatectl" in finding.fix


def test_aws_that_gives_no_time_is_a_warning(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert doctor.check_clock("us-east-1").level is Level.WARNING


@pytest.mark.parametrize(
    ("seconds", "level"),
    [
        (0, Level.OK),
        (-59, Level.OK),
        (60, Level.WARNING),
        (-299, Level.WARNING),
        (300, Level.MISSING),
        (-9e9, Level.MISSING),
    ],
)
def test_clock_is_judged_by_its_distance(seconds, level):
    assert doctor.judge_clock(seconds, "aws").level is level


@pytest.mark.parametrize(("free", "level"), [(6e9, Level.OK), (5.9e9, Level.MISSING), (0, Level.MISSING)])
def test_disk_is_judged_by_what_a_build_needs(free, level):
    finding = doctor.judge_disk(free, Path("/var/lib/docker"))
    assert finding.level is level
    assert "/var/lib/docker" in finding.summary


def test_disk_of_an_engine_elsewhere_is_a_warning():
    assert doctor.check_disk(Path("/nonexistent/docker")).level is Level.WARNING


@pytest.mark.parametrize(("chosen", "level"), [("3", Level.OK), ("1", Level.WARNING), ("0", Level.WARNING)])
def test_bridge_is_judged_by_who_chose_its_address(tmp_path, chosen, level):
    bridge = tmp_path / "docker7"
    bridge.mkdir()
    (bridge / "addr_assign_type").write_text(f"{chosen}\n")
    finding = doctor.check_bridge(bridge)
    assert finding.level is level
    assert ("ip link set dev docker7 address" in finding.fix) == (level is Level.WARNING)


def test_machine_without_the_bridge_is_no_warning(tmp_path):
    assert doctor.check_bridge(tmp_path / "docker7").level is Level.OK


@pytest.mark.parametrize(
    ("architecture", "level"), [("x86_64", Level.OK), ("amd64", Level.OK), ("aarch64", Level.WARNING)]
)
def test_engine_is_judged_by_its_architecture(architecture, level):
    assert doctor.judge_engine(EngineInformation("29.0.0", architecture, Path("/"))).level is level


# What the doctor says of a sandbox: in which shell it is used, and what has its names.


NAME = "123456789012.dkr.ecr.us-west-2.amazonaws.com"


@pytest.fixture
def sandbox(tmp_path, monkeypatch, late_aws):
    """Options, and the state of a sandbox that runs by all signs; this shell is pointed at none."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    options = SandboxOptions(state=tmp_path / "a sandbox", hosts=tmp_path / "hosts")
    options.hosts.write_text("127.0.0.1 localhost\n")
    registry = RegistryHost(NAME, "127.0.0.2", options.account, "us-west-2")
    journal = Journal(SandboxState(options.account, options.state, options.hosts, (registry,)))
    hosts.write(options.hosts, options.state, (registry,))
    return options, journal.update(endpoint=late_aws, complete=True)


def the_finding(options):
    (finding,) = doctor.check_sandboxes(options)
    return finding


def point_at(state, monkeypatch):
    for name, value in environment(state).items():
        monkeypatch.setenv(name, value)


def test_no_sandbox_is_fine(tmp_path, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    finding = the_finding(SandboxOptions(state=tmp_path / "none", hosts=tmp_path / "hosts"))
    assert (finding.level, finding.summary) == (Level.OK, "not made")


def test_sandbox_has_its_names_in_a_shell_that_is_not_pointed_at_it(sandbox):
    options, state = sandbox
    finding = the_finding(options)
    assert finding.level is Level.WARNING
    assert state.endpoint in finding.summary
    assert NAME in finding.summary
    quoted = shlex.quote(str(options.state))
    assert f'eval "$(xgbpatch sandbox env --state {quoted})"' in finding.fix
    assert f"xgbpatch sandbox down --state {quoted}" in finding.fix


def test_shell_that_is_pointed_at_the_sandbox_is_connected(sandbox, monkeypatch):
    options, state = sandbox
    point_at(state, monkeypatch)
    finding = the_finding(options)
    assert (finding.level, finding.summary) == (
        Level.OK,
        f"running at {state.endpoint}, and this shell is pointed at it",
    )


def test_sandbox_of_another_state_directory_is_found_by_its_names(sandbox, tmp_path):
    options, state = sandbox
    usual = SandboxOptions(state=tmp_path / "usual", hosts=options.hosts)
    assert state.endpoint in the_finding(usual).summary


def test_shell_that_is_still_pointed_at_a_sandbox_that_is_gone_is_told_how_to_leave(sandbox, tmp_path, monkeypatch):
    options, state = sandbox
    point_at(state, monkeypatch)
    down(options)
    finding = the_finding(options)
    assert finding.level is Level.WARNING
    assert state.endpoint in finding.summary
    assert finding.fix == f"unset {' '.join(VARIABLES)}"


def test_sandbox_that_does_not_answer_is_named_with_its_directory(sandbox):
    options, state = sandbox
    Journal(state).update(endpoint="http://127.0.0.1:9")
    finding = the_finding(options)
    assert finding.level is Level.WARNING
    assert str(options.state) in finding.summary
    assert "sandbox up --state" in finding.fix


def test_names_of_a_sandbox_whose_directory_was_removed_by_hand_go_by_the_command_that_is_named(sandbox, tmp_path):
    options, _ = sandbox
    (options.state / "state.json").unlink()
    usual = SandboxOptions(state=tmp_path / "usual", hosts=options.hosts)
    assert f"xgbpatch sandbox down --state {shlex.quote(str(options.state))}" in the_finding(usual).fix
    assert down(options)
    assert options.hosts.read_text() == "127.0.0.1 localhost\n"
    assert not down(options)
