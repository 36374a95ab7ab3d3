"""The abalone data that ships with the project, as channels for training and rows for serving."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from xgbpatch.contract.payload import Row

CHANNELS = {"train": ("train_0", "train_1"), "validation": ("validation",)}
NAMES = ("sex", "length", "diameter", "height", "whole weight", "shucked weight", "viscera weight", "shell weight")
FEATURES = 9  # indices 1 to 8 in the files, and the column 0 that libsvm training sees in front of them
_MEDIAN = 9  # rings


def rows() -> tuple[Row, ...]:
    """The 626 rows of the validation file without labels, as the trained model counts columns: column 0 is 0."""
    return tuple(row for _, row in _records("validation"))


def old() -> tuple[bool, ...]:
    """Whether each of `rows` has more than 9 rings."""
    return tuple(_old(label) for label, _ in _records("validation"))


def write_channels(directory: Path, content_type: str, as_classes: bool = False) -> None:
    """Write `train/` and `validation/` below `directory` as libsvm or CSV; CSV rows start with label and column 0.

    The label is the number of rings, or `as_classes` 1 for more than 9 and 0.
    """
    suffix, written = ("csv", _csv_line) if content_type == "text/csv" else ("libsvm", _libsvm_line)
    for channel, names in CHANNELS.items():
        (directory / channel).mkdir(parents=True)
        for name in names:
            text = "".join(written(line, as_classes) for line in _text(name).splitlines())
            (directory / channel / f"{name}.{suffix}").write_text(text, encoding="ascii")


def _csv_line(line: str, as_classes: bool) -> str:
    label, row = _record(line)
    return f"{_label(label, as_classes)},{','.join(map(repr, row))}\n"


def _libsvm_line(line: str, as_classes: bool) -> str:
    """As published: indices are counted from 1."""
    label, _, pairs = line.partition(" ")
    return f"{_label(label, as_classes)} {pairs}\n"


def _label(rings: str, as_classes: bool) -> str:
    return str(int(_old(rings))) if as_classes else rings


def _old(rings: str) -> bool:
    return float(rings) > _MEDIAN


def _records(name: str) -> list[tuple[str, Row]]:
    return [_record(line) for line in _text(name).splitlines()]


def _record(line: str) -> tuple[str, Row]:
    label, *pairs = line.split()
    values = {int(index): float(value) for index, value in (pair.split(":") for pair in pairs)}
    return label, tuple(values.get(index, 0.0) for index in range(FEATURES))


def _text(name: str) -> str:
    return (files("xgbpatch") / "data" / "abalone" / f"{name}.libsvm").read_text(encoding="ascii")
