"""Any AWS client, pointed at the sandbox by its variables alone, finds ECR and STS there."""

import json
import ssl
import subprocess
import sys
from pathlib import Path

import docker
import pytest

from support.bases import RUN_ID
from support.commands import xgbpatch
from support.sandbox.tiny_images import credentials_of, tiny_image
from xgbpatch.errors import RegistryError, XgbpatchError
from xgbpatch.progress import Silent
from xgbpatch.reference import Credentials, ImageReference
from xgbpatch.sandbox import environment, lifecycle

XGBPATCH = Path(sys.executable).with_name("xgbpatch")


@pytest.fixture(autouse=True)
def pointed_at_the_sandbox(running, monkeypatch):
    for name, value in environment(running).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)


@pytest.mark.parametrize("number", [0, 1, 2, 3], ids=["base", "own", "base-second-region", "own-second-region"])
def test_image_comes_back_by_digest_through_every_ecr_name(running, engine, number):
    registry = running.registries[number]
    reference = ImageReference(registry.host, "probe/word", "t1")
    credentials = credentials_of(registry)
    with tiny_image(engine, reference) as image:
        digest = engine.push(reference, credentials, Silent())
        engine.remove(reference)
        assert engine.image(image.id) is None
        pulled = engine.pull(reference.with_digest(digest), credentials, Silent())
        assert pulled.id == image.id
        engine.remove(reference.with_digest(digest).pinned)


def test_digest_is_found_without_a_pull(running, engine):
    registry = running.registries[1]
    reference = ImageReference(registry.host, "probe/asked", "t1")
    credentials = credentials_of(registry)
    with tiny_image(engine, reference):
        digest = engine.push(reference, credentials, Silent())
    auth = {"username": credentials.username, "password": credentials.password}
    assert docker.from_env().images.get_registry_data(str(reference), auth_config=auth).id == digest


def test_base_registries_of_all_regions_hold_the_same_images(running, engine):
    first, second = running.registries[0], running.registries[2]
    reference = ImageReference(first.host, "probe/shared", "t1")
    with tiny_image(engine, reference) as image:
        engine.push(reference, credentials_of(first), Silent())
        elsewhere = ImageReference(second.host, "probe/shared", "t1")
        assert engine.pull(elsewhere, credentials_of(second), Silent()).id == image.id
        engine.remove(elsewhere)


def test_own_registries_of_two_regions_are_apart(running, engine):
    first, second = running.registries[1], running.registries[3]
    reference = ImageReference(first.host, "probe/apart", "t1")
    with tiny_image(engine, reference):
        engine.push(reference, credentials_of(first), Silent())
    with pytest.raises(XgbpatchError, match="manifest unknown"):
        engine.pull(ImageReference(second.host, "probe/apart", "t1"), credentials_of(second), Silent())


def test_token_of_another_account_is_refused(running, engine):
    base, own = running.registries[:2]
    reference = ImageReference(own.host, "probe/refused", "t1")
    with tiny_image(engine, reference), pytest.raises(RegistryError, match="auth"):
        engine.push(reference, credentials_of(base), Silent())


def test_no_token_is_refused(running, engine):
    reference = ImageReference(running.registries[1].host, "probe/refused", "t1")
    with tiny_image(engine, reference), pytest.raises(RegistryError, match="auth"):
        engine.push(reference, Credentials("AWS", ""), Silent())


def test_images_of_the_sandbox_s_registries_are_removed_and_no_others(running, engine):
    ours = ImageReference(running.registries[1].host, "probe/ours", "t1")
    theirs = ImageReference("", f"xgbpatch-test-theirs-{RUN_ID}", "t1")
    label = "com.amazonaws.sagemaker.capabilities.multi-models"
    with tiny_image(engine, ours, label), tiny_image(engine, theirs, label):
        lifecycle.remove_images(running)
        assert engine.image(ours) is None
        assert engine.image(theirs) is not None


def test_bundle_trusts_the_machine_s_authorities_and_one_more(running):
    machine = ssl.create_default_context(cafile=ssl.get_default_verify_paths().cafile).get_ca_certs(binary_form=True)
    bundle = ssl.create_default_context(cafile=str(running.bundle)).get_ca_certs(binary_form=True)
    assert len(set(bundle) - set(machine)) == 1
    assert not set(machine) - set(bundle)


def test_private_key_is_for_root_alone(running):
    assert (running.directory / "server.key").stat().st_mode & 0o077 == 0


def test_shell_is_pointed_at_the_sandbox_by_env(running):
    ask = "import boto3; print(boto3.client('sts').get_caller_identity()['Account'], boto3.Session().region_name)"
    script = f"""
set -eu
export AWS_PROFILE=missing
eval "$({XGBPATCH} sandbox env --state {running.directory})"
exec {sys.executable} -c "$ASK"
"""
    completed = subprocess.run(
        ["/bin/bash", "-c", script], env={"ASK": ask, "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert completed.stdout.split() == [running.account, running.region], completed.stderr


def test_another_shell_is_told_whose_the_certificate_is_and_what_to_do(running):
    version = ["plan", "--version", "3.2-0", "--region", running.region, "--account", running.account]
    completed = xgbpatch(*version, environment={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"})
    assert completed.returncode == 5, completed.stderr
    assert f'is the sandbox in "{running.directory}"' in completed.stderr
    assert f'eval "$(xgbpatch sandbox env --state {running.directory})"' in completed.stderr
    assert f"xgbpatch sandbox down --state {running.directory}" in completed.stderr


def test_status_as_json_names_what_runs(running):
    completed = xgbpatch("sandbox", "status", "--json", "--state", str(running.directory))
    record = json.loads(completed.stdout)
    assert completed.returncode == 0
    assert record["running"] is True
    assert record["endpoint"] == running.endpoint
    assert [(one["host"], one["running"]) for one in record["registries"]] == [
        (registry.host, True) for registry in running.registries
    ]


def test_status_and_env_of_no_sandbox(tmp_path):
    status = xgbpatch("sandbox", "status", "--state", str(tmp_path))
    assert (status.returncode, status.stdout) == (1, "sandbox: not made\n")
    env = xgbpatch("sandbox", "env", "--state", str(tmp_path))
    assert (env.returncode, env.stdout) == (13, "")
    assert "xgbpatch sandbox up" in env.stderr
