"""What is kept of a container that ended unasked, on a real engine; one container for all of it."""

import tempfile

import pytest

from support import ends
from support.bases import chosen
from support.differential.stage import Part, Player, Scene, Servers, Zoo
from xgbpatch.engine.types import Run

pytestmark = pytest.mark.parametrize("version", chosen(), scope="session")

DIES = f"""
import pathlib, sys
pathlib.Path("{ends.CRASH}").write_text("SIGSEGV in a model")
print("o" * 9000, "last word")
sys.exit("an error")
"""
SCENE = Scene("dying", ())


@pytest.fixture
def dead(engine, base_of, version, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with engine.container(Run(base_of(version), ("python3", "-c", DIES))) as container:
        container.wait(60)
        yield container


def test_an_end_has_its_exit_code_its_words_apart_and_whole_and_what_the_engine_saw(dead):
    end = ends.end_of(dead)
    assert (end.exit_code, end.stdout, end.stderr) == (1, "o" * 9000 + " last word\n", "an error\n")
    assert end.crash == "SIGSEGV in a model"
    assert "die exitCode=1" in end.events[-1]
    for words in ("exit code 1", "last word", "an error", "SIGSEGV in a model", "die exitCode=1", str(end.folder)):
        assert words in str(end)
    assert (end.folder / "stdout").read_text() == end.stdout
    with (
        pytest.raises(AssertionError, match="no answer\nthe server has ended with exit code 1"),
        ends.told({"the server": dead}),
    ):
        raise OSError("no answer")


def test_a_server_that_ended_unasked_is_told_at_its_next_use_and_one_that_was_stopped_is_not(engine, dead, tmp_path):
    with Servers(engine, SCENE, Zoo(tmp_path, {}), {"part": Part("no-image")}) as servers:
        servers._players["part"] = Player(dead)
        with pytest.raises(AssertionError, match="part has ended with exit code 1"):
            servers.players()
        with pytest.raises(AssertionError, match="part has ended"), ends.told({"part": dead}):
            raise AssertionError
