"""Signing through cosign. The real one cannot be had here: a script of that name records what it was given."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from xgbpatch.errors import ConfigurationError, SigningError
from xgbpatch.publish import attachments
from xgbpatch.reference import Credentials, ImageReference

IMAGE = ImageReference("registry.example:5000", "team/xgboost", "3.2-0", "sha256:" + "ab" * 32)
RECORD = f"""#!{sys.executable}
import json, os, pathlib, sys
login = pathlib.Path(os.environ.get("DOCKER_CONFIG", "/nowhere"), "config.json")
seen = {{"arguments": sys.argv[1:], "environment": dict(os.environ), "input": sys.stdin.read(), "mode": None}}
if login.exists():
    seen["login"] = json.loads(login.read_text())
    seen["mode"] = oct(login.parent.stat().st_mode & 0o777)
pathlib.Path(os.environ["RECORD"]).write_text(json.dumps(seen))
print(os.environ.get("SAYS", ""), file=sys.stderr)
sys.exit(int(os.environ.get("ENDS", "0")))
"""


@pytest.fixture
def cosign(tmp_path, monkeypatch):
    """A `cosign` on PATH; gives a function that reads what the last run recorded."""
    program = tmp_path / "bin" / "cosign"
    program.parent.mkdir()
    program.write_text(RECORD)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("RECORD", str(tmp_path / "record.json"))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    return lambda: json.loads((tmp_path / "record.json").read_text())


def anonymous(reference):
    return None


def test_the_digest_is_signed_and_not_the_tag(cosign):
    attachments.sign(attachments.signer(), IMAGE, anonymous)
    assert cosign()["arguments"] == ["sign", "--yes", f"registry.example:5000/team/xgboost@{IMAGE.digest}"]


def test_an_image_without_a_digest_is_not_signed(cosign, tmp_path):
    with pytest.raises(ConfigurationError, match="has no digest"):
        attachments.sign(attachments.signer(), IMAGE.with_tag("3.2-0"), anonymous)
    assert not (tmp_path / "record.json").exists()


def test_a_key_is_named(cosign):
    attachments.sign(attachments.signer("awskms:///alias/images"), IMAGE, anonymous)
    assert cosign()["arguments"][2:4] == ["--key", "awskms:///alias/images"]


def test_the_login_is_in_a_private_file_that_is_gone_afterwards_and_never_an_argument(cosign):
    attachments.sign(attachments.signer(), IMAGE, lambda reference: Credentials("AWS", "a-token"))
    calls = cosign()
    auth = calls["login"]["auths"][IMAGE.host]["auth"]
    assert (base64.b64decode(auth), calls["mode"]) == (b"AWS:a-token", "0o700")
    assert "a-token" not in " ".join(calls["arguments"])
    assert "a-token" not in " ".join(calls["environment"].values())
    assert not Path(calls["environment"]["DOCKER_CONFIG"]).exists()


def test_an_identity_token_is_handed_on_as_one(cosign):
    attachments.sign(attachments.signer(), IMAGE, lambda reference: Credentials("", "", "refresh-me"))
    assert cosign()["login"]["auths"][IMAGE.host]["identitytoken"] == "refresh-me"


def test_the_password_stays_in_the_variable_that_cosign_reads(cosign, monkeypatch):
    monkeypatch.setenv("COSIGN_PASSWORD", "a-password")
    attachments.sign(attachments.signer("cosign.key"), IMAGE, anonymous)
    calls = cosign()
    assert calls["environment"]["COSIGN_PASSWORD"] == "a-password"
    assert "a-password" not in " ".join(calls["arguments"])


def test_cosign_is_never_asked_a_question_it_would_wait_for(cosign):
    attachments.sign(attachments.signer(), IMAGE, anonymous)
    assert cosign()["input"] == ""


def test_a_key_as_text_is_refused_before_it_reaches_a_command_line(cosign, tmp_path):
    with pytest.raises(SigningError, match="as text") as caught:
        attachments.signer("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nabc")
    assert "env://" in caught.value.next_step
    assert "abc" not in str(caught.value)
    assert not (tmp_path / "record.json").exists()


@pytest.mark.parametrize(("key", "hint"), [("cosign.key", "COSIGN_PASSWORD"), ("", "OIDC")], ids=["key", "keyless"])
def test_what_cosign_says_reaches_the_user_with_the_next_step(cosign, monkeypatch, key, hint):
    monkeypatch.setenv("SAYS", "Error: signing: getting signer: no identity")
    monkeypatch.setenv("ENDS", "1")
    with pytest.raises(SigningError, match=r"(?s)did not sign .*@sha256:.*no identity") as caught:
        attachments.sign(attachments.signer(key), IMAGE, anonymous)
    assert hint in caught.value.next_step
    assert caught.value.exit_code == 15


def test_without_cosign_the_next_step_is_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SigningError, match='"cosign" is not on PATH') as caught:
        attachments.signer()
    assert "--sign" in caught.value.next_step


def test_a_cosign_that_hangs_is_an_error_and_does_not_stay(tmp_path, monkeypatch):
    program = tmp_path / "cosign"
    program.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(attachments, "_SECONDS", 1)
    with pytest.raises(SigningError, match="in 1 s"):
        attachments.sign(attachments.signer(), IMAGE, anonymous)
    alive = subprocess.run(["kill", "-0", (tmp_path / "pid").read_text().strip()], capture_output=True, check=False)
    assert alive.returncode != 0
