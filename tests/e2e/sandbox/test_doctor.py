"""The doctor with an engine and a sandbox at hand."""

import os
import pty
import subprocess

import docker

from support.bases import RUN_ID
from support.doctor import XGBPATCH, findings_of, run_doctor
from xgbpatch import doctor
from xgbpatch.doctor import Level
from xgbpatch.engine import ownership
from xgbpatch.sandbox import environment


def test_nothing_is_missing_with_an_engine_and_the_sandbox(running):
    completed = run_doctor(environment(running), "--json")
    findings = findings_of(completed)
    assert completed.returncode == 0, completed.stdout
    assert not [finding for finding in findings.values() if finding["level"] == "missing"]
    assert running.account in findings["credentials"]["seen"]
    assert findings["region"]["seen"] == running.region
    assert findings["clock"]["level"] == "ok"
    assert findings["engine"]["seen"].startswith("Docker Engine ")


def test_the_table_is_the_same_with_a_terminal_and_without_one(running):
    plain = run_doctor(environment(running)).stdout
    assert plain.split()[:4] == ["ok", "engine", "Docker", "Engine"]
    ours, theirs = pty.openpty()
    with subprocess.Popen([XGBPATCH, "doctor"], env={**os.environ, **environment(running)}, stdout=theirs) as process:
        os.close(theirs)
        shown = _read_all(ours)
    assert process.returncode == 0
    for text in (plain, shown):  # whose cells may wrap
        assert all(
            words in " ".join(text.split()) for words in ("Docker Engine", "credentials", "this shell is pointed")
        )


def _read_all(descriptor):
    parts = []
    try:
        while part := os.read(descriptor, 65536):
            parts.append(part)
    except OSError:  # the other end is closed
        pass
    os.close(descriptor)
    return b"".join(parts).decode()


def test_container_left_over_is_named_with_the_command_that_removes_it(tmp_path):
    client = docker.from_env()
    image = client.api.import_image_from_data(_empty_tar(), repository=f"xgbpatch-test-leftover-{RUN_ID}", tag="t1")
    assert "errorDetail" not in image
    container = client.containers.create(
        f"xgbpatch-test-leftover-{RUN_ID}:t1", ["none"], labels={ownership.OWNER_LABEL: "1"}
    )
    try:
        (finding,) = [one for one in doctor.examine("us-east-1") if one.name == "containers"]
        assert finding.level is Level.WARNING
        assert container.id[:12] in finding.fix
    finally:
        container.remove()
        client.images.remove(f"xgbpatch-test-leftover-{RUN_ID}:t1")


def _empty_tar():
    return b"\0" * 10240
