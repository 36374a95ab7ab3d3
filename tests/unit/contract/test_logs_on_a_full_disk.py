"""Logs that cannot be kept are told of; the report stays."""

from __future__ import annotations

from xgbpatch.contract.model import Options
from xgbpatch.contract.session import Session
from xgbpatch.engine.types import LocalImage
from xgbpatch.progress import Silent


class Lines(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def test_a_folder_that_cannot_be_made_costs_the_logs_alone(tmp_path):
    (tmp_path / "file").write_text("")
    progress = Lines()
    image = LocalImage("sha256:1", ("a:1",), (), {}, {}, (), 0, "", "amd64")
    session = Session(None, image, Options(logs=tmp_path / "file" / "logs", progress=progress))
    session._used["serve"] = None  # its folder fails before it is asked
    assert session.save_logs() == ""
    assert progress.lines == [f'the logs could not be kept in "{tmp_path}/file/logs/a_1": Not a directory']
