"""`xgbpatch plan`: exit codes, the table and the JSON document of a whole configuration, without an engine."""

import json
import os
from types import SimpleNamespace

import pytest

from support import handmade
from support.commands import completed_in_process
from support.planning import FIXED, HOOKED


@pytest.fixture
def run(image_repository, tmp_path, monkeypatch):
    """`run(…)` in a folder with a configuration of two images, one of them published; no engine is reachable."""
    folder = tmp_path / "project"
    folder.mkdir()
    spec = image_repository.spec
    (folder / "xgbpatch.toml").write_text(
        f'base_image = "{spec.base_image}"\nfeatures = ["shap"]\nrepository = "{spec.repository}"\n'
        "[images.fraud]\n[images.churn]\n"
    )
    image_repository.publish()

    for name in [name for name in os.environ if name.startswith(("XGBPATCH_", "AWS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")

    def command(*arguments, **environment):
        words = ("plan", "--registry", image_repository.loopback.host, *arguments)
        result = completed_in_process(*words, folder=folder, environment=environment)
        return SimpleNamespace(code=result.returncode, out=result.stdout, err=result.stderr)

    return command


def test_exit_codes_follow_the_state(run, image_repository):
    current = run("--image", "fraud", "--json")
    assert current.code == 0, current.err
    assert json.loads(current.out)["images"][0]["state"] == "current"
    image_repository.move(FIXED)
    assert run("--image", "fraud").code == 10
    image_repository.move(HOOKED)
    drifted = run("--json")
    assert drifted.code == 20, drifted.err
    document = json.loads(drifted.out)
    assert document["exit_code"] == 20
    assert [image["state"] for image in document["images"]] == ["drifted", "rebuild"]
    assert "serve_utils:predict" in json.dumps(document["images"][0]["reasons"])
    assert document["images"][1]["published"] is None


def test_an_image_that_is_another_under_our_tag_exits_20_and_says_so(run, image_repository):
    motd = handmade.tar({"etc/motd": b"evil"})
    handmade.forge(image_repository.services, image_repository.publish(), added=[motd])
    foreign = run("--image", "fraud")
    assert foreign.code == 20, foreign.err
    assert "foreign" in foreign.out
    assert "fraud: it is not what its labels say: " in foreign.out


def test_the_table_has_a_line_an_image_and_its_reasons_below(run):
    result = run()
    assert result.code == 10, result.err
    lines = result.out.splitlines()
    assert [line.split()[:3] for line in lines[:3]] == [
        ["IMAGE", "VERSION", "STATE"], ["fraud", "3.2-0", "current"], ["churn", "3.2-0", "rebuild"],
    ]  # fmt: skip
    assert lines[1].split()[-1] == "2027-05-13"
    assert lines[3] == ""
    assert [line.partition(":")[0] for line in lines[4:]] == ["churn"]


def test_all_means_the_whole_file_whatever_a_variable_says(run):
    chosen = run("--json", XGBPATCH_IMAGE="fraud")
    assert [image["name"] for image in json.loads(chosen.out)["images"]] == ["fraud"]
    every = run("--all", "--json", XGBPATCH_IMAGE="fraud")
    assert [image["name"] for image in json.loads(every.out)["images"]] == ["fraud", "churn"]
    both = run("--all", "--image", "fraud")
    assert (both.code, both.out) == (2, "")


def test_an_image_that_cannot_be_looked_at_does_not_hide_the_others(run, image_repository, tmp_path):
    file = tmp_path / "project" / "xgbpatch.toml"
    text = file.read_text().replace(
        "[images.churn]\n", f'[images.churn]\nbase_image = "{image_repository.place}:absent-3.2-0"\n'
    )
    file.write_text(text.replace("[images.churn]\n", '[images.churn]\nversion = "3.2-0"\n'))
    result = run("--json")
    assert result.code == 4, result.err
    images = json.loads(result.out)["images"]
    assert [image["state"] for image in images] == ["current", "error"]
    assert images[1]["error"]["exit_code"] == 4
    assert list(images[0]) == list(images[1])
    assert "absent-3.2-0" in result.err
    table = run()
    assert (table.code, table.out.splitlines()[2].split()[2]) == (4, "error")
    error = images[1]["error"]
    assert f"\n  churn: {error['message']}\n    {error['next_step']}\n" in table.err
    assert (table.out + table.err).count(error["message"]) == 1
