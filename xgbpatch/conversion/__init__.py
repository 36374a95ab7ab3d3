"""A model, from what it was written in to JSON or UBJSON, proved by two xgboosts: the one that reads the original and
the one that will read the result."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal

from xgbpatch.conversion.source import Model
from xgbpatch.conversion.xgboosts import Xgboost
from xgbpatch.errors import ConversionError, UnequalModelError
from xgbpatch.inspection.model_file import Format

Target = Literal["json", "ubj"]
_MOST_BYTES = 1 << 34  # that an answer may announce
_SUFFIXES = (".json", ".ubj", ".ubjson", ".deprecated", ".model", ".bin", ".pkl", ".pickle", ".joblib", ".xgb")


@dataclass(frozen=True)
class ConvertedModel:
    """`name` is the new name. `read_by` and `proved_by` are versions of xgboost; `rows` were predicted by both, made of
    `thresholds`; they reach `reached` of `leaves`. `notes` are what a person should know."""

    model: Model
    name: str
    content: bytes
    read_by: str
    proved_by: str
    rows: int
    thresholds: int
    leaves: int
    reached: int
    notes: tuple[str, ...]


def convert(
    model: Model, name: str, to: Target, *, reader: Xgboost, target: Xgboost, folder: Path, best: bool = False
) -> ConvertedModel:
    """The model under its new `name`; `folder` is an empty one for what is asked and answered. `best`: its best rounds
    alone, where training stopped early.

    Raises `ConversionError` where a program fails, and `UnequalModelError`, which lists what differs.
    """
    pickled = model.file.format is Format.PICKLE
    suffix = ".pickle" if pickled else f".{model.file.format.value}"  # xgboost goes by the suffix
    question, reading, proof = folder / f"model{suffix}", folder / "reading.zip", folder / "proof.zip"
    shutil.copyfile(model.path, question)
    reader.ask(question, None, {"to": to, "pickled": pickled}, reading)
    target.ask(None, reading, {"to": to, "name": name, "best": best}, proof)
    before, after = (_about(path) for path in (reading, proof))
    if after["differences"]:
        listed = "\n".join(after["differences"])
        raise UnequalModelError(
            f'"{model.name}" would not be the same in xgboost {after["xgboost"]} as in {before["xgboost"]}:\n{listed}',
            "Nothing was written. --for names another xgboost that is to read it.",
        )
    return ConvertedModel(
        model, name, _member(proof, f"model.{to}"), before["xgboost"], after["xgboost"],
        rows=before["rows"], thresholds=before["thresholds"], leaves=before["leaves"], reached=before["reached"],
        notes=tuple(_notes(before, after)),
    )  # fmt: skip


def converted_name(name: str, to: Target) -> str:
    """A name without a suffix stays, as programs open "xgboost-model"; a suffix that tells of a format is changed."""
    path = PurePath(name)
    return path.with_suffix(f".{to}").name if path.suffix in _SUFFIXES else name


def _notes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    notes = []
    if before["wrapper"]:
        notes.append(f"the pickle held scikit-learn's {before['wrapper']}: what is kept is its booster")
    if after["base_score"] is not None:
        notes.append(
            f"xgboost {after['xgboost']} takes the base score of this model otherwise than {before['xgboost']}: it was "
            f"written as {after['xgboost']} takes it"
        )
    if after["best"]:
        notes.append(f"training stopped early: what is kept is the best {after['best']} of {before['rounds']} rounds")
    elif before["best"]:
        notes.append(
            f"training stopped early, at {before['rounds']} rounds of which the best {before['best']} count: servers "
            "before 3.0-5 predict with these alone, newer ones with all. --best-rounds keeps these alone"
        )
    return notes


def _about(answer: Path) -> dict[str, Any]:
    document = json.loads(_member(answer, "about.json"))
    if not isinstance(document, dict):
        raise ConversionError(f'"{answer.name}" is no answer of the program')
    return document


def _member(answer: Path, name: str) -> bytes:
    try:
        with zipfile.ZipFile(answer) as archive:
            if archive.getinfo(name).file_size > _MOST_BYTES:
                raise ValueError("too large")
            return archive.read(name)
    except (zipfile.BadZipFile, KeyError, ValueError, RuntimeError, NotImplementedError, EOFError) as error:
        raise ConversionError(f"the answer of the program is damaged: {error}") from error
