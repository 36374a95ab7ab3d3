"""The abalone data that ships with the project, as channels for training and rows for serving."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from xgbpatch.contract.payload import Row

CHANNELS = {"train": ("train_0", "train_1"), "validation": ("validation",)}
FEATURES = 9  # indices 1 to 8 in the files, and the column 0 that libsvm training sees in front of them


def rows() -> tuple[Row, ...]:
    """The 626 rows of the validation file without labels, as the trained model counts columns: column 0 is 0."""
    return tuple(row for _, row in _records("validation"))


def write_channels(directory: Path, content_type: str) -> None:
    """Write `train/` and `validation/` below `directory` as libsvm or CSV; CSV rows start with label and column 0."""
    for channel, names in CHANNELS.items():
        (directory / channel).mkdir(parents=True)
        for name in names:
            suffix, text = ("csv", _as_csv(name)) if content_type == "text/csv" else ("libsvm", _text(name))
            (directory / channel / f"{name}.{suffix}").write_text(text, encoding="ascii")


def _as_csv(name: str) -> str:
    return "".join(f"{label},{','.join(map(repr, row))}\n" for label, row in _records(name))


def _records(name: str) -> list[tuple[str, Row]]:
    return [_record(line) for line in _text(name).splitlines()]


def _record(line: str) -> tuple[str, Row]:
    label, *pairs = line.split()
    values = {int(index): float(value) for index, value in (pair.split(":") for pair in pairs)}
    return label, tuple(values.get(index, 0.0) for index in range(FEATURES))


def _text(name: str) -> str:
    return (files("xgbpatch") / "data" / "abalone" / f"{name}.libsvm").read_text(encoding="ascii")
