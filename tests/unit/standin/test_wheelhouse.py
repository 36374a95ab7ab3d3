"""Wheels of a stand-in that are kept are looked at before they are used."""

import zipfile

import pytest

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
