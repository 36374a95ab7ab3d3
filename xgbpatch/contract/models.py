"""The model folders that the servers of one run get, made of what the training jobs left."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

from xgbpatch.contract import abalone, npy
from xgbpatch.contract.jobs import ABALONE, ABALONE_CSV, K_FOLD, LOGISTIC, NAMES
from xgbpatch.contract.server import Models
from xgbpatch.contract.training import Job, Trained

BESIDE = "xgbpatch"  # the sub-folder of a model folder that the base's serving never looks into
BACKGROUND_ROWS = 100
UNPICKLED = "xgbpatch-test-local-unpickled-this-model"


class _Marker:
    """A pickle that prints UNPICKLED where it is loaded."""

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return print, (UNPICKLED,)


def assemble(models: Models, directory: Path, trained: Callable[[Job], Trained]) -> Path:
    """The folder of those models below `directory`, made at the first call; `trained` gives a job that succeeded."""
    if models is Models.ABALONE:
        return trained(ABALONE).model.parent
    folder = directory / f"served-{models.value}"
    if not folder.exists():
        files, beside = _parts(models, trained)
        (folder / BESIDE).mkdir(parents=True)
        for path, content in {**files, **{f"{BESIDE}/{name}": found for name, found in beside.items()}}.items():
            (folder / path).write_bytes(content)
    return folder


def _parts(models: Models, trained: Callable[[Job], Trained]) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The files of the folder, and those in BESIDE, by name."""
    if models is Models.MEAN:
        members = [trained(job).model for job in (ABALONE, ABALONE_CSV)]
        return {f"xgboost-model-{number}": path.read_bytes() for number, path in enumerate(members)}, {}
    if models is Models.VOTES:
        members = sorted(trained(K_FOLD).root.glob("model/xgboost-model-*"))
        return {path.name: path.read_bytes() for path in members}, {}
    if models is Models.LOGISTIC:
        return {"xgboost-model": trained(LOGISTIC).model.read_bytes()}, {"background.npy": npy.float32(background())}
    if models in (Models.NAMED, Models.NEWER):
        names = {"feature_names.json": json.dumps(NAMES).encode()}
        newer = {"record.json": json.dumps({"xgboost": "99.0.0"}).encode()}
        beside = names if models is Models.NAMED else newer
        return {"xgboost-model": trained(ABALONE).model.read_bytes()}, beside
    return {"xgboost-model": pickle.dumps(_Marker(), protocol=4)}, {}


def background() -> Sequence[Sequence[float]]:
    """Rows for interventional SHAP, none of which the checks ask about."""
    return abalone.rows()[-BACKGROUND_ROWS:]
