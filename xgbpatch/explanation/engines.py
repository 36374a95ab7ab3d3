"""Who explains rows of files: the library on this machine, or the server in an image's own container."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from xgbpatch.contract.http import Answer, Request, invocation
from xgbpatch.contract.model import Violation, read_carried
from xgbpatch.contract.oracle import Description, predict
from xgbpatch.contract.server import Server, Stack
from xgbpatch.contract.session import patient, workspace
from xgbpatch.errors import BaseImageError, ConfigurationError, ContractError, ExtraMissingError
from xgbpatch.report import tables

if TYPE_CHECKING:
    from xgbpatch.engine.client import Engine
    from xgbpatch.engine.types import LocalImage
    from xgbpatch.explanation import Explainer

Table = NDArray[np.float32]
REQUEST_BYTES = 2 << 20  # of a request to a container, about
_CELL_BYTES = 12  # that a number takes in it
_READY_SECONDS = 600.0
ALL_ROUNDS = (0, 0)
_LAST = 2000  # characters of a container's log that an error shows


class RowEngine(Protocol):
    """Explains rows of `features` cells. `identity` says who computes: a run goes on with the same one alone."""

    @property
    def features(self) -> int: ...

    @property
    def names(self) -> tuple[str, ...]:
        """Of the features, as the model has them, or none."""
        ...

    @property
    def identity(self) -> str: ...

    def table(self, rows: Table) -> tuple[Table, int]:
        """float32 (n, k) of `rows` float32 (n, features), at least one: predictions, then of each class base value and
        SHAP values; and the number of classes, 1 of a model that has none."""
        ...


class LocalEngine:
    """The library in this process, with all CPUs or so many `threads`; predictions are this machine's xgboost's. `note`
    is what a person should know of the model."""

    def __init__(self, explainer: Explainer, threads: int | None = None) -> None:
        import xgboost

        self._explainer, self._xgboost = explainer, xgboost
        self._rounds = _rounds(explainer.booster)
        self.note = _left_in(explainer.booster) if self._rounds == ALL_ROUNDS else ""
        self.features = explainer.features
        self.names = tuple(explainer.booster.feature_names or ())
        self.identity = f"{explainer.reason or 'xgbpatch'}; xgboost {xgboost.__version__}"
        self._threads = threads or 0
        explainer.booster.set_param({"nthread": self._threads})

    def table(self, rows: Table) -> tuple[Table, int]:
        explained = self._explainer(rows)
        classes = 1 if explained.base_values.ndim == 1 else explained.base_values.shape[1]
        values = explained.values.reshape(len(rows), self.features, classes)
        vectors = np.concatenate([explained.base_values.reshape(len(rows), 1, classes), values], axis=1)
        predictions = self._explainer.booster.predict(
            self._xgboost.DMatrix(rows, nthread=self._threads), validate_features=False, iteration_range=self._rounds
        )
        behind = np.moveaxis(vectors, 2, 1).reshape(len(rows), -1)
        return np.concatenate([predictions.reshape(len(rows), -1), behind], axis=1).astype(np.float32), classes


def loaded(path: Path, threads: int | None = None) -> LocalEngine:
    """The model file at `path`, with the rounds that the official image of this xgboost predicts with.

    Raises `ExtraMissingError` without xgboost, `ConfigurationError` for a file that it does not read or not explain.
    """
    try:
        import xgboost
    except ImportError as error:
        raise ExtraMissingError("xgbpatch explain", "explain") from error
    from xgbpatch.explanation import Explainer

    try:
        booster = xgboost.Booster()
        booster.load_model(bytearray(path.read_bytes()))  # JSON or UBJSON by its bytes; a name would have to tell
    except xgboost.core.XGBoostError as error:
        first = str(error).strip().splitlines()[0]  # of a stack trace
        reason = re.sub(r"^\[[\d:]+\] \S+:\d+: ", "", first)  # without the time and the line of the source
        raise ConfigurationError(f'xgboost {xgboost.__version__} does not read "{path.name}": {reason}',
                                 "xgbpatch convert-model writes old models anew.") from error  # fmt: skip
    engine = LocalEngine(Explainer(booster, iteration_range=_rounds(booster), threads=threads), threads)
    try:
        engine.table(np.full((1, engine.features), np.nan, np.float32))
    except xgboost.core.XGBoostError as error:
        raise ConfigurationError(
            f'"{path.name}" cannot be explained: {engine.identity}', "Leaves that are vectors have no SHAP values."
        ) from error
    return engine


def _rounds(booster: Any) -> tuple[int, int]:
    """The images before 3.0-5, which hold an xgboost of before 2.0, predict with the best rounds alone, and newer ones
    with all, whatever early stopping has noted."""
    import xgboost

    best = booster.attr("best_iteration")
    return (0, int(best) + 1) if best and int(xgboost.__version__.partition(".")[0]) < 2 else ALL_ROUNDS


def _left_in(booster: Any) -> str:
    best, rounds = booster.attr("best_iteration"), booster.num_boosted_rounds()
    if not best or int(best) + 1 >= rounds:
        return ""
    return (
        f"training stopped early: all {rounds} rounds are explained, as the images from 3.0-5 on predict; those before "
        f"predict with the best {int(best) + 1} alone, which `xgbpatch convert-model --best-rounds` keeps"
    )


class ContainerEngine:
    """The image's own server, asked in CSV: its predictions and values, whatever xgboost this machine has."""

    def __init__(self, ask: Callable[[Request], Answer], image: str, model: Description, workers: int) -> None:
        self._ask, self._workers = ask, workers
        self.features, self.names = model.features, model.names
        self._votes = model.objective == "multi:softmax"  # one prediction, however many classes
        self.identity = f"image {image}"

    def table(self, rows: Table) -> tuple[Table, int]:
        most = max(1, REQUEST_BYTES // (_CELL_BYTES * self.features))
        each = max(1, min(most, -(-len(rows) // self._workers)))
        parts = [rows[begin : begin + each] for begin in range(0, len(rows), each)]
        with ThreadPoolExecutor(self._workers) as pool:
            table = np.concatenate(list(pool.map(self._explained, parts)))
        behind, one = table.shape[1] - self._votes, 2 + self.features - self._votes
        if behind % one:
            raise ContractError(f"the image answers {table.shape[1]} columns for {self.features} features")
        return table, behind // one

    def _explained(self, rows: Table) -> Table:
        from xgbpatch.overlays import native

        body = "\n".join(native.shortest(rows, ",")).encode()
        answer = self._ask(invocation(body, "text/csv", "text/csv"))
        if answer.status == 413 and len(rows) > 1:  # too many for its limits: half as many, then
            middle = len(rows) // 2
            return np.concatenate([self._explained(rows[:middle]), self._explained(rows[middle:])])
        if answer.status != 200:
            raise Violation(f"the image does not explain these rows: {answer}")
        lines = answer.body.strip().split(b"\n")
        table = tables.parse_csv("the image's answer", range(1, len(lines) + 1), lines).numbers
        if len(table) != len(rows):
            raise Violation(f"the image answers {len(table)} lines for {len(rows)} rows")
        return table.astype(np.float32)


@contextmanager
def served(engine: Engine, image: LocalImage, models: Sequence[tuple[str, Path]], workers: int) -> Iterator[RowEngine]:
    """A container of `image` that serves `models` (name, file) with so many `workers`, until the block ends.

    Raises `BaseImageError` for an image without the feature `shap`, and `ContractError`, with the end of the
    container's log, where the image does not start or answer.
    """
    name = image.tags[0] if image.tags else image.id
    if "shap" not in read_carried(image).features:
        raise BaseImageError(f'"{name}" does not carry the feature "shap"', "xgbpatch build --feature shap")
    environment = {
        "XGBPATCH_SHAP_LAYOUT": "append", "XGBPATCH_SHAP_MEGABYTES": "64", "XGBPATCH_SHAP_HEADER": "off",
        "MAX_CONTENT_LENGTH": str(4 * REQUEST_BYTES), "SAGEMAKER_MODEL_SERVER_WORKERS": str(workers),
    }  # fmt: skip
    stack = Stack("explain", tuple(environment.items()))
    with workspace(engine, image.id) as folder:
        for model, path in models:
            shutil.copyfile(path, folder / model)
        with engine.container(patient(stack.run(image.id, folder), image)) as container:
            server = Server(container, stack)
            try:
                server.wait(_READY_SECONDS)
                yield ContainerEngine(server.ask, image.id, predict(container, stack.folder, ()).description, workers)
            except Violation as violation:
                log = (container.stdout() + container.stderr()).strip()[-_LAST:]
                raise ContractError(f'"{name}": {violation}', f"The end of its log:\n{log}") from violation
