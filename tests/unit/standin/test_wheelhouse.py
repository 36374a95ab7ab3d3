"""Wheels of a stand-in that are kept are looked at before they are used."""

import socket
import sys
import zipfile

import pytest

from xgbpatch.errors import ExtraMissingError, SandboxError
from xgbpatch.standin import parts

PINS = ("numpy==2.1.0", "PyYAML==6.0")


def cut(folder):
    path = folder / "numpy-2.1.0-py3-none-any.whl"
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize(
    ("damage", "whole"),
    [
        pytest.param(lambda folder: None, True, id="as it was"),
        pytest.param(lambda folder: (folder / "numpy-2.1.0-py3-none-any.whl").unlink(), False, id="a wheel is gone"),
        pytest.param(lambda folder: (folder / "pyyaml-6.1-py3-none-any.whl").write_bytes(b""), False, id="empty"),
        pytest.param(cut, False, id="cut off"),
    ],
)
def test_a_wheelhouse_is_whole_with_a_whole_wheel_of_every_pin(tmp_path, damage, whole):
    for name in ("numpy-2.1.0", "pyyaml-6.1"):  # which gave way to another release
        with zipfile.ZipFile(tmp_path / f"{name}-py3-none-any.whl", "w") as wheel:
            wheel.writestr("a", "a")
    damage(tmp_path)
    assert parts._holds_wheels(tmp_path, PINS) is whole


def without_uv():
    raise ExtraMissingError("making wheels", "packages")


@pytest.mark.parametrize("uv", [True, False], ids=["uv", "pip alone"])
def test_tools_that_no_index_gives_are_named_and_no_credential(tmp_path, monkeypatch, uv):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        index = f"http://user:secret@127.0.0.1:{closed.getsockname()[1]}/simple"
        for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"):
            monkeypatch.setenv(name, index)
        for name, value in {"PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1", "UV_HTTP_RETRIES": "0"}.items():
            monkeypatch.setenv(name, value)
        for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "UV_INDEX", "UV_FIND_LINKS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
        if not uv:
            monkeypatch.setattr(parts, "find_uv", without_uv)
        interpreter = parts.find_interpreter("{}.{}".format(*sys.version_info))
        with pytest.raises(SandboxError, match=r"wheel could not be installed: .*\w") as refused:
            parts._environment(tmp_path / "venv", interpreter)
    assert (tmp_path / "venv/bin/pip").exists() != uv  # which of the two was asked
    assert "secret" not in f"{refused.value.message} {refused.value.next_step}"
