"""What is measured: modes, models, rows, with and without SHAP values; and the bodies that are sent."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from xgbpatch.bench.models import RECIPES
from xgbpatch.contract.server import MODEL_FOLDER, Stack

SINGLE, BATCH, MULTI_MODEL = "single-model", "batch", "multi-model"
MODES = (SINGLE, BATCH, MULTI_MODEL)
MODELS = ("A", "B", "C")  # measured where nobody names another of CHOICES
CHOICES = ("A", "B", "C", "E", "F")  # those that predict one number a record
ROWS = (1, 100, 2000)
NAME = "model"
PAYLOAD = 6_000_000  # bytes: batch transform cuts its input into requests of 6 MB unless its job says otherwise
_CELL = 9  # bytes with its comma


@dataclass(frozen=True)
class Case:
    """`rows` records asked of a server of `mode` with `model`; `explained`: with SHAP values.

    A batch of more than one payload is a job: a turn sends all of it, payload by payload.
    """

    mode: str
    model: str
    rows: int
    explained: bool

    def __str__(self) -> str:
        count = f"{self.rows:,}" if self.payloads == 1 else f"{self.rows:,} in {self.payloads} requests"
        return f"{self.mode}, {self.model}, rows: {count}{', SHAP' if self.explained else ''}"

    @property
    def path(self) -> str:
        return f"/models/{NAME}/invoke" if self.mode == MULTI_MODEL else "/invocations"

    @property
    def width(self) -> int:
        """Columns of a record."""
        return RECIPES[self.model][0]

    @property
    def payloads(self) -> int:
        """How many requests the rows take."""
        return -(-self.rows * self.width * _CELL // PAYLOAD) if self.mode == BATCH else 1

    @property
    def rows_each(self) -> int:
        """Records of a request; those of all requests may be a few more than `rows`."""
        return -(-self.rows // self.payloads)


def cases(modes: tuple[str, ...], models: tuple[str, ...], rows: tuple[int, ...], shap: bool) -> tuple[Case, ...]:
    """Every combination, server by server, the smallest requests first."""
    return tuple(
        Case(mode, model, count, explained)
        for mode in modes for model in models for count in rows for explained in ((False, True) if shap else (False,))
    )  # fmt: skip


def body(case: Case) -> bytes:
    """CSV of invented records, the same each time: one request. A job sends it again and again."""
    cells = random.Random(case.rows)  # noqa: S311
    lines = (",".join(f"{cells.random():.6f}" for _ in range(case.width)) for _ in range(case.rows_each))
    return "\n".join(lines).encode()


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
