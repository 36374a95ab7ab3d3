"""The doctor sees what is there, names what is missing, and changes nothing."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from support.doctor import findings_of, run_doctor
from xgbpatch import doctor
from xgbpatch.doctor import Level
from xgbpatch.engine.types import EngineInformation


@pytest.fixture
def late_aws():
    """An endpoint whose clock stands still at a past hour."""

    class Late(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            self.end_headers()

        def date_time_string(self, timestamp=None):
            return "Mon, 01 Jan 2024 00:00:00 GMT"

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Late) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_missing_engine_region_and_credentials_exit_1_with_a_way_out():
    ended = run_doctor({"DOCKER_HOST": "unix:///nonexistent.sock"}, "--json")
    found = findings_of(ended)
    assert ended.returncode == 1
    for name, way_out in (("engine", "scripts/engine"), ("region", "--region"), ("credentials", "aws configure")):
        assert found[name]["level"] == "missing"
        assert way_out in found[name]["fix"]


def test_region_asked_for_wins():
    region, finding = doctor.find_region("eu-west-3")
    assert (region, finding.level) == ("eu-west-3", Level.OK)


def test_clock_far_from_aws_is_missing(late_aws, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", late_aws)
    finding = doctor.check_clock("us-east-1")
    assert finding.level is Level.MISSING
    assert "ahead of" in finding.seen
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
    assert "/var/lib/docker" in finding.seen


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
