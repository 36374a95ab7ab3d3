"""Which engine is talked to, and with whose logins: an engine's API by script, over HTTP on loopback."""

from __future__ import annotations

import base64
import hashlib
import io
import json

import pytest

from support.servers import Reply, scripted
from xgbpatch.engine.client import Engine
from xgbpatch.errors import EngineError
from xgbpatch.progress import Silent
from xgbpatch.reference import Credentials, ImageReference

GREETING = [Reply(200, b'{"ApiVersion": "1.44"}'), Reply(200, b"OK"), Reply(200, b"[]")]  # version, ping, containers
IMAGE = {"Id": "sha256:1", "Created": "2026-11-01T10:00:00Z", "Architecture": "amd64", "Os": "linux"}
PUSHED = Reply(200, b'{"aux": {"Digest": "sha256:2"}}')
PLACE = ImageReference.parse("registry.example.com/a:1")


@pytest.fixture
def docker_files(tmp_path, monkeypatch):
    """Write what `docker login` and `docker context` write."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    def write(config, context="", meta=None):
        (tmp_path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
        if context:
            folder = tmp_path / "contexts" / "meta" / hashlib.sha256(context.encode()).hexdigest()
            folder.mkdir(parents=True)
            (folder / "meta.json").write_text(meta if isinstance(meta, str) else json.dumps(meta))

    return write


def context_at(host):
    return {"Name": "far", "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}}}


@pytest.mark.parametrize("chosen_by", ["the file", "the variable"])
def test_dockers_current_context_is_followed(docker_files, monkeypatch, chosen_by):
    with scripted(*GREETING) as server:
        docker_files(
            {"currentContext": "far"} if chosen_by == "the file" else {}, "far", context_at(f"tcp://{server.host}")
        )
        if chosen_by == "the variable":
            monkeypatch.setenv("DOCKER_CONTEXT", "far")
        with Engine.connect():
            assert [path.rpartition("/")[2].partition("?")[0] for _, path, _ in server.seen] == [
                "version",
                "_ping",
                "json",
            ]


def test_docker_host_is_before_the_context(docker_files, monkeypatch):
    with scripted(*GREETING) as server:
        docker_files({"currentContext": "far"}, "far", context_at("tcp://127.0.0.1:9"))
        monkeypatch.setenv("DOCKER_HOST", f"tcp://{server.host}")
        with Engine.connect():
            assert server.seen


def test_a_context_whose_engine_does_not_answer_is_named(docker_files):
    docker_files({"currentContext": "far"}, "far", context_at("tcp://127.0.0.1:9"))
    with pytest.raises(EngineError, match="the context far"):
        Engine.connect()


@pytest.mark.parametrize("chosen_by", ["the file", "the variable"])
def test_a_context_that_is_not_there_is_not_passed_over(docker_files, monkeypatch, chosen_by):
    docker_files({"currentContext": "gone"} if chosen_by == "the file" else {})
    if chosen_by == "the variable":
        monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    with pytest.raises(EngineError, match='no context "gone"') as caught:
        Engine.connect()
    assert "docker context ls" in caught.value.next_step


def test_a_damaged_context_is_an_error(docker_files):
    docker_files({"currentContext": "far"}, "far", "{")
    with pytest.raises(EngineError, match=r"settings cannot be read.*far"):
        Engine.connect()


FINE = [
    {}, {"auths": None}, {"auths": {"a": {"username": "me", "password": "x"}}},
    {"credsStore": "absent", "auths": {"a": {}}},
]  # fmt: skip
DAMAGED = [
    "[]", {"auths": {"a": {"auth": ""}}}, {"auths": {"a": {"auth": "no base64"}}}, {"proxies": None}, {"auths": [1]},
]  # fmt: skip


@pytest.mark.parametrize("config", FINE)
def test_a_login_file_is_no_hindrance(docker_files, monkeypatch, config):
    docker_files(config)
    with scripted(*GREETING) as server:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://{server.host}")
        Engine.connect().__exit__()


@pytest.mark.parametrize("config", DAMAGED)
def test_a_damaged_login_file_is_an_error_that_says_so(docker_files, monkeypatch, config):
    docker_files(config)
    with scripted(*GREETING) as server:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://{server.host}")
        with pytest.raises(EngineError, match="settings cannot be read"):
            Engine.connect()


@pytest.mark.filterwarnings("ignore:docker-credential-absent")
def test_a_build_asks_no_store_of_logins(docker_files, monkeypatch):
    """It pulls nothing; a store whose program is missing would end it."""
    docker_files({"credsStore": "absent"})
    built = Reply(200, b'{"aux": {"ID": "sha256:1"}}'), Reply(200, json.dumps(IMAGE).encode())
    with scripted(*GREETING, *built) as server:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://{server.host}")
        with Engine.connect() as engine:
            assert engine.build(io.BytesIO(bytes(1024)), "linux/amd64", Silent()).id == "sha256:1"
        assert all("X-Registry-Config" not in headers for _, _, headers in server.seen)


@pytest.mark.parametrize(
    ("credentials", "login"),
    [
        (None, {}),
        (Credentials("me", "x"), {"username": "me", "password": "x"}),
        (Credentials("", "", "refresh-me"), {"identitytoken": "refresh-me"}),
    ],
    ids=["anonymous", "a password", "an identity token"],
)
def test_a_push_carries_the_login_of_its_registry(docker_files, monkeypatch, credentials, login):
    docker_files({"auths": {"registry.example.com": {"auth": base64.b64encode(b"a:stale").decode()}}})
    with scripted(*GREETING, PUSHED) as server:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://{server.host}")
        with Engine.connect() as engine:
            engine.push(PLACE, credentials, Silent())
        header = server.seen[-1][2]["X-Registry-Auth"]
    assert json.loads(base64.urlsafe_b64decode(header)) == login
