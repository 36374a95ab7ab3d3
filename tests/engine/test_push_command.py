"""`xgbpatch push` as a user runs it: standard output, exit codes, signals."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
from threading import Thread

import pytest

from support.aws import ACCOUNT
from support.commands import command_line, xgbpatch
from support.registries import USER, Kind, registry
from support.servers import EngineProxy, stalling
from xgbpatch.build import verify
from xgbpatch.build.definition import asked_digest
from xgbpatch.commands import _context
from xgbpatch.commands._context import BuiltImage, cache_folder
from xgbpatch.commands._options import Selection
from xgbpatch.commands.push import _destinations
from xgbpatch.config.settings import Flags
from xgbpatch.provenance import ASKED_DIGEST, BASE_NAME, IMAGE, SPEC_DIGEST, VERSION
from xgbpatch.reference import ImageReference
from xgbpatch.registry.client import Registry
from xgbpatch.registry.keychain import Keychain
from xgbpatch.spec import PublishTarget, Spec


def named(image):
    """The image's own `<repository>:<tag>`."""
    return image.tags[0]


def test_digest_alone_is_on_stdout_and_progress_on_stderr(plain, make_image):
    image = make_image()
    completed = xgbpatch("push", named(image), "--registry", plain.host, "--repository", "team/model", "--tag", "1")
    assert completed.returncode == 0, completed.stderr
    there = Registry(Keychain()).head(plain.reference("team/model:1"))
    assert completed.stdout == f"{plain.host}/team/model@{there.digest}\n"
    assert "was pushed" in completed.stderr


def test_quiet_says_nothing_on_stderr(plain, make_image):
    completed = xgbpatch("push", named(make_image()), "--registry", plain.host, "--quiet")
    assert (completed.returncode, completed.stderr) == (0, "")


def test_second_push_is_up_to_date_and_exits_0(plain, make_image):
    arguments = ("push", named(make_image()), "--registry", plain.host)
    first, second = xgbpatch(*arguments), xgbpatch(*arguments)
    assert second.returncode == 0
    assert second.stdout == first.stdout
    assert "up to date" in second.stderr


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, without a configuration file; the cache knows of no build."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


OURS = {SPEC_DIGEST: "sha256:" + "1" * 64}


def test_without_an_image_it_is_the_one_that_was_built_last_in_this_folder(plain, make_image, folder):
    image = make_image(OURS)
    _context.remember_build(Selection(Flags()), [BuiltImage(named(image), image.id)])
    make_image(OURS)  # newer, and somebody else's
    completed = xgbpatch("push", "--registry", plain.host, "--json")
    assert json.loads(completed.stdout)["image"] == image.id
    assert completed.stderr.startswith(f'Image: {named(image)}, the last build of "{folder}"')
    repository, tag = named(image).split(":")
    assert plain.tags(repository) == [tag]


@pytest.mark.parametrize("built", ["elsewhere", "gone", "two"])
def test_without_an_image_and_a_build_it_says_what_there_is_and_pushes_nothing(plain, make_image, folder, built):
    images = [make_image(OURS), make_image(OURS)]
    records = [BuiltImage(named(image), image.id) for image in images]
    if built == "elsewhere":
        (folder / "xgbpatch.toml").write_text("")
        _context.remember_build(Selection(Flags()), records[:1])
        (folder / "xgbpatch.toml").unlink()
    else:
        _context.remember_build(
            Selection(Flags()), [BuiltImage("a:1", "sha256:" + "0" * 64)] if built == "gone" else records
        )
    completed = xgbpatch("push", "--registry", plain.host)
    assert (completed.returncode, completed.stdout) == (2, "")
    assert "no IMAGE is named" in completed.stderr
    assert {named(image) for image in images} <= set(completed.stderr.split())
    assert plain.writes() == 0


def test_json_document_tells_all(plain, make_image):
    image = make_image()
    completed = xgbpatch("push", named(image), "--registry", plain.host, "--alias", "prod", "--json")
    document = json.loads(completed.stdout)
    assert document["image"] == image.id
    assert document["failed"] == []
    (pushed,) = document["pushed"]
    assert (pushed["tag"], pushed["aliases"], pushed["up_to_date"], pushed["repaired"], pushed["region"]) == (
        "1.0", ["prod"], False, False, None,
    )  # fmt: skip
    assert pushed["reference"].startswith(f"{plain.host}/xgbpatch-test/")


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "text"])
def test_image_that_cosign_does_not_sign_stands_and_is_told(plain, make_image, monkeypatch, tmp_path, as_json):
    cosign = tmp_path / "cosign"
    cosign.write_text("#!/bin/sh\necho no identity >&2\nexit 1\n")
    cosign.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    image = make_image()
    completed = xgbpatch("push", named(image), "--registry", plain.host, "--sign", *(["--json"] if as_json else []))
    assert completed.returncode == 15
    assert "no identity" in completed.stderr
    printed = json.loads(completed.stdout)["pushed"][0]["reference"] if as_json else completed.stdout.strip()
    there = Registry(Keychain()).head(plain.reference(named(image)))
    assert printed == f"{plain.host}/{named(image).split(':')[0]}@{there.digest}"


def test_registry_with_tls_and_dockers_login(guarded, make_image, tmp_path, monkeypatch):
    auth = base64.b64encode(f"{USER.username}:{USER.password}".encode()).decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {guarded.host: {"auth": auth}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(guarded.ca))
    completed = xgbpatch("push", named(make_image()), "--registry", guarded.host)
    assert completed.returncode == 0, completed.stderr
    assert USER.password not in completed.stderr


def test_push_without_a_login_exits_5(guarded, make_image, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(guarded.ca))
    completed = xgbpatch("push", named(make_image()), "--registry", guarded.host)
    assert (completed.returncode, completed.stdout) == (5, "")
    assert "docker login" in completed.stderr


def test_push_refused_by_registry_exits_5(engine, tmp_path, make_image):
    image = make_image()
    with registry(tmp_path, Kind(readonly=True)) as readonly:
        completed = xgbpatch("push", named(image), "--registry", readonly.host, "--alias", "prod")
        assert readonly.tags(named(image).split(":")[0]) == []
    assert (completed.returncode, completed.stdout) == (5, "")
    assert "could not push" in completed.stderr
    assert engine.image(image.id).tags == image.tags


def test_tag_of_another_image_exits_5_and_names_the_way_out(plain, make_image):
    target = ("--registry", plain.host, "--repository", "team/model", "--tag", "1")
    assert xgbpatch("push", named(make_image()), *target).returncode == 0
    completed = xgbpatch("push", named(make_image()), *target)
    assert completed.returncode == 5
    assert "already holds another image" in completed.stderr
    assert "--alias" in completed.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"])
def test_signal_in_the_middle_of_a_layer_leaves_no_name_anywhere(engine, plain, make_image, number, code):
    image = make_image(content=os.urandom(8 << 20))
    repository = named(image).split(":")[0]
    with stalling(plain.host, limit=2 << 20) as proxy, subprocess.Popen(
        command_line("push", named(image), "--registry", proxy.host),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert proxy.reached.wait(300), "the layer never got under way"
        assert len(engine.image(image.id).tags) == 2
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=300)
        proxy.released.set()
        assert proxy.hung_up.wait(300), "the engine goes on: it sends the rest, and would put the manifest"
        assert plain.tags(repository) == []
    assert (process.returncode, stdout) == (code, "")
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    assert engine.image(image.id).tags == image.tags


def test_engine_that_goes_away_in_the_middle_of_a_layer_exits_3(engine, plain, make_image):
    image = make_image(content=os.urandom(8 << 20))
    repository, tag = named(image).split(":")
    reached_by = EngineProxy()
    Thread(target=reached_by.serve_forever, args=(0.01,), daemon=True).start()
    with stalling(plain.host, limit=2 << 20) as proxy:
        with subprocess.Popen(
            command_line("push", named(image), "--registry", proxy.host),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "DOCKER_HOST": f"tcp://{reached_by.host}"},
        ) as process:  # fmt: skip
            assert proxy.reached.wait(300), "the layer never got under way"
            reached_by.cut()
            stdout, stderr = process.communicate(timeout=300)
        left = f"{proxy.host}/{repository}:{tag}"
    engine.remove(left)  # nobody could, so the user is told how
    assert (process.returncode, stdout) == (3, "")
    assert "Is the Docker Engine still running?" in stderr
    assert f"docker rmi {left}" in stderr
    assert "Traceback" not in stderr
    assert plain.tags(repository) == []


def test_interrupted_push_succeeds_when_it_is_run_again(engine, plain, make_image):
    image = make_image(content=os.urandom(8 << 20))
    with stalling(plain.host, limit=2 << 20) as proxy:
        process = subprocess.Popen(command_line("push", named(image), "--registry", proxy.host, "-q"))
        assert proxy.reached.wait(300)
        process.terminate()
        assert process.wait(300) == 143
    assert xgbpatch("push", named(image), "--registry", plain.host).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--account", "12"), '--account "12"'),
        (("--registry", "r.example.com", "--region", "us-west-2"), "--registry is for"),
        (("--all-regions", "--region", "us-west-2"), "exclude each other"),
        (("--repository-tag", "novalue"), '"novalue" is not KEY=VALUE'),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, tuple) else "",
)
def test_flag_that_cannot_be_accepted_exits_2(arguments, words):
    completed = xgbpatch("push", *arguments)
    assert (completed.returncode, completed.stdout) == (2, "")
    assert words in completed.stderr


@pytest.mark.parametrize("flags", [("--tag", "no/tag"), ("--repository", "Upper"), ("--alias", "-x")], ids="=".join)
def test_name_that_no_registry_takes_exits_2(plain, make_image, flags):
    completed = xgbpatch("push", named(make_image()), "--registry", plain.host, *flags)
    assert completed.returncode == 2
    assert flags[1] in completed.stderr


def test_alias_in_an_immutable_repository_exits_2(plain, make_image):
    completed = xgbpatch("push", named(make_image()), "--registry", plain.host, "--immutable", "--alias", "prod")
    assert completed.returncode == 2
    assert 'alias "prod" could not move' in completed.stderr
    assert plain.writes() == 0


def test_no_region_at_all_exits_2(aws, make_image):
    completed = xgbpatch("push", named(make_image()))
    assert completed.returncode == 2
    assert "--region" in completed.stderr


def test_no_credentials_exits_6(aws, make_image, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    completed = xgbpatch("push", named(make_image()), "--region", "us-west-2")
    assert completed.returncode == 6
    assert "aws configure" in completed.stderr


def test_several_regions_are_tried_each_and_told(aws, make_image):
    image = make_image()
    completed = xgbpatch("push", named(image), "--region", "eu-north-1", "--region", "cn-north-1", "--json")
    failed = json.loads(completed.stdout)["failed"]  # no registry answers under these names
    assert completed.returncode == 5
    assert [failure["destination"] for failure in failed] == [
        f"{ACCOUNT}.dkr.ecr.eu-north-1.amazonaws.com/{named(image)}",
        f"{ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com.cn/{named(image)}",
    ]
    summary = completed.stderr.partition("xgbpatch: 2 of 2 pushes failed\n")[2]
    for failure in failed:
        assert summary.count(f"  {failure['destination']}: {failure['message']}\n") == 1


def test_unknown_image_exits_4():
    completed = xgbpatch("push", "absent:1")
    assert (completed.returncode, completed.stdout) == (4, "")
    assert 'no image "absent:1"' in completed.stderr


def test_region_of_the_command_line_is_that_of_the_file_s_images(aws, make_image, monkeypatch, tmp_path):
    """The file names no region, and nothing else does."""
    (tmp_path / "xgbpatch.toml").write_text('[images.fraud]\nversion = "3.2-0"\nfeatures = ["shap"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AWS_REGION", raising=False)
    image = make_image(BUILT)
    completed = xgbpatch("push", named(image), "--region", "eu-north-1", "--json")
    assert [one["region"] for one in json.loads(completed.stdout)["failed"]] == ["eu-north-1"], completed.stderr


def test_registry_outside_ecr_needs_no_region(aws, plain, make_image, monkeypatch, tmp_path):
    (tmp_path / "xgbpatch.toml").write_text('[images.fraud]\nversion = "3.2-0"\nfeatures = ["shap"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AWS_REGION", raising=False)
    completed = xgbpatch("push", named(make_image(BUILT)), "--registry", plain.host)
    assert completed.returncode == 0, completed.stderr


def test_all_regions_are_those_of_the_callers_partition(aws, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    name, target = ImageReference("", "team/model", "1"), PublishTarget()
    places = [place.ecr for place in _destinations(name, target, Selection(Flags()), (), all_regions=True)]
    assert {place.account for place in places} == {ACCOUNT}
    regions = [place.region for place in places]
    assert {"us-west-2", "eu-west-1", "ap-northeast-1"} < set(regions)
    assert not [region for region in regions if region.startswith(("cn-", "us-gov-", "us-iso"))]


BUILT = {**OURS, VERSION: "3.2-0", BASE_NAME: "standin:3.2-0"}


def test_aliases_of_the_variable_move_for_what_the_variables_ask_for(plain, make_image, monkeypatch, folder):
    monkeypatch.setenv("XGBPATCH_ALIASES", "prod,next")
    spec = Spec("3.2-0", "", repository="xgbpatch-test/a")
    image = make_image({**BUILT, IMAGE: spec.name, ASKED_DIGEST: asked_digest(spec)})
    monkeypatch.setenv("XGBPATCH_REPOSITORY", named(image).split(":")[0])
    verify.remember(cache_folder(), image)
    completed = xgbpatch("push", named(image), "--registry", plain.host)
    assert completed.returncode == 0, completed.stderr
    assert plain.tags(named(image).split(":")[0]) == ["1.0", "next", "prod"]


@pytest.mark.parametrize(
    ("labels", "tags", "words"),
    [
        ({}, ["1.0", "fraud"], "was pushed"),
        ({IMAGE: "experiment"}, ["1.0"], "was pushed"),
        ({ASKED_DIGEST: "sha256:another"}, ["1.0"], 'no alias moves: the configuration asks for another image "fraud"'),
    ],
    ids=["its own", "of another image", "of another day"],
)
def test_aliases_of_the_configuration_file_move_for_the_image_that_it_asks_for(
    plain, make_image, folder, labels, tags, words
):
    digest = asked_digest(Spec("3.2-0", "us-west-2", features=("shap",)))
    image = make_image({**BUILT, IMAGE: "fraud", ASKED_DIGEST: digest, **labels})
    repository = named(image).split(":")[0]
    (folder / "xgbpatch.toml").write_text(
        f"""
[images.fraud]
version = "3.2-0"
region = "us-west-2"
features = ["shap"]
repository = "{repository}"
aliases = ["fraud"]
"""
    )
    verify.remember(cache_folder(), image)
    completed = xgbpatch("push", named(image), "--registry", plain.host)
    assert completed.returncode == 0, completed.stderr
    assert plain.tags(repository) == tags
    assert words in completed.stderr
