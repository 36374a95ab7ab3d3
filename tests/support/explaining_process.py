"""`xgbpatch explain` in a process that may be killed; a process of a fork server imports this module by its name."""

from pathlib import Path

from xgbpatch.explanation import engines, files, places


def explain(model: Path, rows: Path, folder: Path, part_rows: int) -> None:
    """All rows of one file, with one thread."""
    inputs = places.inputs_of([rows], None)
    options = files.ExplainOptions((), False, False, False, part_rows)
    files.explain(engines.loaded(model, 1), "the model", inputs, places.LocalOutput(folder), options)
