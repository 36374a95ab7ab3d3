"""What is measured: modes, models, rows, with and without SHAP values; and the bodies that are sent."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from xgbpatch.bench.probe.models import RECIPES
from xgbpatch.contract.server import MODEL_FOLDER, Stack

SINGLE, BATCH, MULTI_MODEL = "single-model", "batch", "multi-model"
MODES = (SINGLE, BATCH, MULTI_MODEL)
MODELS = ("A", "B", "C")
ROWS = (1, 100, 2000)
NAME = "model"


@dataclass(frozen=True)
class Case:
    """Requests of `rows` records to a server of `mode` with `model`; `explained`: with SHAP values."""

    mode: str
    model: str
    rows: int
    explained: bool

    def __str__(self) -> str:
        return f"{self.mode}, {self.model}, rows: {self.rows}{', SHAP' if self.explained else ''}"

    @property
    def path(self) -> str:
        return f"/models/{NAME}/invoke" if self.mode == MULTI_MODEL else "/invocations"


def cases(modes: tuple[str, ...], models: tuple[str, ...], rows: tuple[int, ...], shap: bool) -> tuple[Case, ...]:
    """Every combination, server by server, the smallest requests first."""
    return tuple(
        Case(mode, model, count, explained)
        for mode in modes for model in models for count in rows for explained in ((False, True) if shap else (False,))
    )  # fmt: skip


def body(case: Case) -> bytes:
    """CSV of that many invented records, the same each time."""
    cells = random.Random(case.rows)  # noqa: S311
    width = RECIPES[case.model][0]
    return "\n".join(",".join(f"{cells.random():.6f}" for _ in range(width)) for _ in range(case.rows)).encode()


def predictions(answer: bytes, explained: bool) -> list[bytes]:
    """The prediction of each record as it stands in a CSV answer, whose lines begin with it where it is explained."""
    if explained:
        return [line.partition(b",")[0] for line in answer.strip().split(b"\n")]
    return re.split(rb"[,\n]", answer.strip())


def stack(mode: str, explained: bool, workers: int) -> Stack:
    """How a server of `mode` is started."""
    count = str(workers)
    environment = [("SAGEMAKER_MODEL_SERVER_WORKERS", count), ("SAGEMAKER_NUM_MODEL_WORKERS", count)]
    if mode == BATCH:
        environment.append(("SAGEMAKER_BATCH", "true"))
    if mode == MULTI_MODEL:
        environment.append(("SAGEMAKER_MULTI_MODEL", "true"))
    if explained:
        environment.append(("XGBPATCH_SHAP_LAYOUT", "append"))
    return Stack(f"bench-{mode}", tuple(environment), multi_model=mode == MULTI_MODEL)


MODEL_URL = f"/opt/ml/models/{MODEL_FOLDER}/model"
