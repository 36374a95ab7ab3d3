"""`xgbpatch rebase`: what it prints, the alias it moves once a test passed, and its exit where the base drifted."""

from __future__ import annotations

import json
from datetime import datetime, timezone

from support.commands import completed_in_process, xgbpatch
from support.rebasing import HOOKED, NEW, OLD
from xgbpatch.contract.model import CheckResult, Report, Verdict
from xgbpatch.publish import test_record


def test_the_command_rebases_and_says_what_it_moved(repositories, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    image = repositories.build(repositories.publish(OLD))
    base = repositories.publish(NEW)
    result = xgbpatch("rebase", f"{image.name}:{image.tag}", "--json", "-q")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["base"] == {"name": str(repositories.base), "digest": base.digest}
    assert (document["up_to_date"], document["accepted"], document["aliases"]) == (False, [], [])
    assert document["traffic"]["sent"] > 0
    again = completed_in_process(
        "rebase", document["reference"].replace("@", f":{document['tag']}@"), "--to", base.digest
    )
    assert (again.returncode, again.stdout) == (0, document["reference"] + "\n")
    assert "is up to date" in again.stderr


def test_an_alias_moves_to_the_result_once_there_is_a_record_that_it_passed(repositories, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such/socket")
    image = repositories.build(repositories.publish(OLD))
    repositories.publish(NEW)
    untested = completed_in_process("rebase", str(image), "--alias", "prod")
    rebased = repositories.rebase(image)
    assert rebased.up_to_date
    assert untested.returncode == 3, "there is no engine to test it on"
    assert untested.stdout == f"{rebased.reference.pinned}\n", "it stands all the same"
    assert "prod" not in repositories.services.registry.tags(image)
    report = Report("", (CheckResult("serve.ping", Verdict.PASSED, "200", 0.1),))
    test_record.record(repositories.services, rebased.reference, report, datetime.now(timezone.utc))
    tested = completed_in_process("rebase", str(image), "--alias", "prod", "--json", "-q")
    assert tested.returncode == 0, tested.stderr
    assert [alias["alias"] for alias in json.loads(tested.stdout)["aliases"]] == ["prod"]
    assert repositories.services.registry.head(image.with_tag("prod")).digest == rebased.reference.digest


def test_the_command_exits_20_with_the_difference_where_the_base_drifted(repositories, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    image = repositories.build(repositories.publish(OLD))
    repositories.publish(HOOKED)
    result = completed_in_process("rebase", str(image))
    assert result.returncode == 20
    assert result.stdout == ""
    assert "serve_utils:predict" in result.stderr
    assert "+    strict," in result.stderr
    assert "--accept-drift" in result.stderr
