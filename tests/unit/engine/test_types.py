"""What the engine streams while it builds and what of it is shown; the output of a command in a container."""

import json

import pytest

from support.servers import Reply, scripted
from xgbpatch.engine.client import Engine
from xgbpatch.engine.types import Run, drain
from xgbpatch.errors import BuildError, EngineError
from xgbpatch.progress import Plain


def test_kilobytes_of_labels_are_not_shown(capsys):
    steps = ["FROM base", "COPY opt/ /opt/xgbpatch/", "ENV A=1", "LABEL io.xgbpatch.hooks=" + "x" * 5000]
    stream = [{"stream": f"Step {number}/4 : {step}\n"} for number, step in enumerate(steps, 1)]
    drain([*stream, {"stream": " ---> 0123456789ab\n"}], Plain(), BuildError, "the build failed")
    assert capsys.readouterr().err.splitlines() == [
        "Step 1/4 : FROM base", "Step 2/4 : COPY opt/ /opt/xgbpatch/", "Step 3/4 : ENV A=1", "---> 0123456789ab",
    ]  # fmt: skip


def frame(stream, text):
    return bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text


def answers_of_an_engine(started):
    """To a client that starts a container, runs a command in it by the reply `started`, and removes it."""
    container = Reply(200, json.dumps({"Id": "c" * 64, "State": {}}).encode())
    execution, exit_state = Reply(201, b'{"Id": "e1"}'), Reply(200, b'{"Running": false, "ExitCode": 3}')
    greeting = [Reply(200, b'{"ApiVersion": "1.44"}'), Reply(200, b"OK"), Reply(200, b"[]")]
    return [*greeting, container, container, Reply(204, b""), execution, started, exit_state, Reply(204, b"")]


@pytest.mark.parametrize("type_", ["raw", "multiplexed"])
def test_output_that_comes_with_the_response_s_head_is_not_lost(monkeypatch, type_):
    output = frame(1, b"first\n") + frame(2, b"") + frame(2, b"second\n") + frame(1, bytes(70_000))
    started = Reply(200, output, {"Content-Type": f"application/vnd.docker.{type_}-stream"})
    with scripted(*answers_of_an_engine(started)) as server:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://{server.host}")
        with Engine.connect() as engine, engine.container(Run("image", ())) as container:
            assert container.execute(["say", "it"]) == (3, b"first\nsecond\n" + bytes(70_000))


def test_a_command_that_the_engine_does_not_start_is_an_error_with_its_words(monkeypatch):
    refused = Reply(409, b'{"message": "container is paused"}', {"Content-Type": "application/json"})
    with scripted(*answers_of_an_engine(refused)) as server:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://{server.host}")
        with (
            Engine.connect() as engine,
            engine.container(Run("image", ())) as container,
            pytest.raises(EngineError, match="refused to run a command in a container: container is paused"),
        ):
            container.execute(["say", "it"])
