"""An engine in the place of a booster: its link, the requests it may answer, and the proof of equal bytes."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Tuple

import numpy as np
import xgboost

from .. import native, request_data
from ..settings import count
from . import booster as model_booster
from .booster import Unsuitable

logger = logging.getLogger(__name__)
IDENTITY = frozenset(
    [
        "binary:logitraw",
        "rank:map",
        "rank:ndcg",
        "rank:pairwise",
        "reg:absoluteerror",
        "reg:linear",
        "reg:pseudohubererror",
        "reg:quantileerror",
        "reg:squarederror",
        "reg:squaredlogerror",
    ]
)
KNOWN = IDENTITY | model_booster.LOGIT | model_booster.LOG | {"binary:hinge", "multi:softmax", "multi:softprob"}


LIBRARY = {  # the variants of a link in xgbpatch/native/links.c, by objective
    **dict.fromkeys(model_booster.LOGIT, (0, 1)),
    **dict.fromkeys(model_booster.LOG, (2,)),
    "multi:softprob": (3,),
}


class MarginLink(object):
    """`predictions(margins, dmatrix)`: margins float32 (n,) or (n, groups), and the request's matrix of n rows.

    By the native library where that gives xgboost's bits for margins of every size, else by a booster without trees.
    """

    def __init__(self, document: Mapping[str, Any]):
        self._objective = document["learner"]["objective"]["name"]
        simple = self._objective in IDENTITY or self._objective in ("binary:hinge", "multi:softmax")
        self._treeless: Any = None if simple else _treeless(document)
        self._variant: Optional[int] = None
        if not simple and native.available():
            outputs = max(1, int(document["learner"]["learner_model_param"]["num_class"]))
            margins = _margins_of_every_size(outputs)
            theirs = self.predictions(margins, xgboost.DMatrix(np.zeros((len(margins), 1), dtype=np.float32)))
            same = (kind for kind in LIBRARY[self._objective] if _linked(kind, margins).tobytes() == theirs.tobytes())
            self._variant = next(same, None)

    @property
    def needs_matrix(self) -> bool:
        """Whether `predictions` looks at the matrix; it may be None elsewhere."""
        return self._treeless is not None and self._variant is None

    def predictions(self, margins: np.ndarray, dmatrix: xgboost.DMatrix) -> np.ndarray:
        predictions = margins
        if self._objective == "binary:hinge":
            predictions = (margins > 0).astype(np.float32)
        elif self._objective == "multi:softmax":
            predictions = np.argmax(margins, axis=1).astype(np.float32)
        elif self._variant is not None:
            predictions = _linked(self._variant, margins)
        elif self._treeless is not None:
            # The request's own matrix carries the margins for a moment: making another costs more than predicting.
            dmatrix.set_base_margin(margins if model_booster.XGBOOST >= (1, 6) else margins.ravel())
            try:
                predictions = self._treeless.predict(dmatrix, validate_features=False)
            finally:
                dmatrix.set_base_margin(np.empty(0, dtype=np.float32))
        return predictions


def _linked(kind: int, margins: np.ndarray) -> np.ndarray:
    margins = np.ascontiguousarray(margins)
    predictions = np.empty_like(margins)
    rows, outputs = margins.shape if margins.ndim == 2 else (len(margins), 1)
    native.load().xgbpatch_link(kind, native.address(margins), rows, outputs, native.address(predictions))
    return predictions


def _margins_of_every_size(outputs: int) -> np.ndarray:
    """float32 (4096,) or (4096, outputs): of every exponent, around nought, beyond what an exponential holds."""
    random = np.random.RandomState(0)
    margins = random.uniform(-12, 12, (4096, outputs)).astype(np.float32)
    margins[::4] = random.uniform(-120, 120, margins[::4].shape)
    margins[1::8] = 2.0 ** random.uniform(-40, 20, margins[1::8].shape) * random.choice([-1, 1], margins[1::8].shape)
    margins[:8] = np.array([0.0, -0.0, 88.7, -88.7, 88.8, -88.8, 1e30, -1e30], dtype=np.float32)[:, None]
    return margins[:, 0].copy() if outputs == 1 else margins


def _treeless(document: Mapping[str, Any]) -> xgboost.Booster:
    learner = dict(document["learner"], attributes={})
    learner["gradient_booster"] = _emptied(learner["gradient_booster"])
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "link.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(dict(document, learner=learner), file)
        booster = xgboost.Booster()
        booster.load_model(path)
    booster.set_param({"nthread": 1})
    return booster


def _emptied(gradient_booster: Mapping[str, Any]) -> Dict[str, Any]:
    if "gbtree" in gradient_booster:
        return dict(gradient_booster, gbtree=_emptied(gradient_booster["gbtree"]), weight_drop=[])
    model = dict(gradient_booster["model"], trees=[], tree_info=[])
    model["gbtree_model_param"] = dict(model["gbtree_model_param"], num_trees="0")
    if "iteration_indptr" in model:
        model["iteration_indptr"] = [0]
    return dict(gradient_booster, model=model)


# Which models and which requests an engine may answer. Each guard returns the reason why not, or an empty string.


DENSE = 256 * 1024**2  # bytes of a request's dense matrix


def guard_model(document: Mapping[str, Any]) -> str:
    """The document is of a kind that numeric splits and one value a leaf express, and its objective is known."""
    learner = document["learner"]
    booster, objective = learner["gradient_booster"]["name"], learner["objective"]["name"]
    if booster not in ("gbtree", "dart"):
        return 'the booster is "{}"'.format(booster)
    if objective not in KNOWN:
        return 'the objective "{}" is not known'.format(objective)
    if int(learner["learner_model_param"].get("num_target", 1)) > 1:
        return "the model has several targets"
    trees = model_booster.model_of(document)["trees"]
    for tree in trees:
        if int(tree["tree_param"].get("size_leaf_vector", 0) or 0) > 1:
            return "the model has vector leaves"
        if any(tree.get("split_type", ())) or any(tree.get("categories_nodes", ())):
            return "the model has categorical splits"
    return "" if trees else "the model has no trees"


def guard_data(recorded: Any, features: int, narrower: bool = False) -> str:
    """The request's recorded numbers can be made dense; `narrower` ones where missing columns are as missing cells.

    To a prediction they are not: xgboost 3 sends them another way, by their number. xgboost explains widened rows.
    """
    if recorded is None:
        return "the request's numbers are not known"
    if recorded.shape[0] == 0:
        return "no rows"
    if recorded.shape[1] > features or (recorded.shape[1] < features and not narrower):
        return "{} columns, the model has {}".format(recorded.shape[1], features)
    if recorded.shape[0] * features * 4 > DENSE:
        return "the dense matrix would pass {} MiB".format(DENSE >> 20)
    return ""


def guard_margin(dmatrix: xgboost.DMatrix) -> str:
    """No base content type carries one; a script may."""
    may = getattr(dmatrix, "carries_margin", True)
    return "a base margin" if may and dmatrix.get_base_margin().size else ""


def guard_rows(dense: np.ndarray) -> str:
    """xgboost treats infinities in its own way."""
    return "an infinite value" if np.isinf(dense).any() else ""


@dataclass(frozen=True)
class Accelerator:
    """An engine's model, proved with `options`; `sample`: some rows of the proof. `name` is the engine's, for the log.

    `compares`: it serves only where it is the faster; requests of fewer than `least` rows stay away. Without `link`
    it explains and does not predict.
    """

    name: str
    model: Any
    link: Any
    options: Any
    sample: np.ndarray
    compares: bool = False
    least: int = 1

    def evaluate(self, rows: np.ndarray, dmatrix: xgboost.DMatrix) -> Tuple[np.ndarray, np.ndarray]:
        """(margins, predictions) of float32 `rows`, which `dmatrix` holds too."""
        margins = self.model.margins(rows)
        return margins, self.link.predictions(margins, dmatrix)

    def answer(self, dmatrix: xgboost.DMatrix, options: Mapping[str, Any]) -> Optional[np.ndarray]:
        """The booster's prediction of a request, or None where a guard sends the request to the booster."""
        if dmatrix.num_row() < self.least:
            return None
        rows = self.rows(dmatrix, options)
        return None if rows is None else self.evaluate(rows, dmatrix)[1]

    def rows(
        self, dmatrix: xgboost.DMatrix, options: Mapping[str, Any], narrower: bool = False
    ) -> Optional[np.ndarray]:
        """The request's float32 (n, features), or None where a guard sends the request to the booster."""
        recorded = request_data.recorded(dmatrix)
        if options != self.options or guard_data(recorded, self.model.features, narrower) or guard_margin(dmatrix):
            return None
        rows = request_data.dense(recorded, self.model.features)
        return None if guard_rows(rows) else rows


# Which engine predicts: xgboost, or another that was proved to answer the same.


@dataclass(frozen=True)
class Choice:
    """`answer(dmatrix, options)` predicts, or returns None for the booster to do it; None where that is always so.

    `accelerator` is the proved Accelerator behind it, if there is one.
    """

    answer: Any
    engine: str
    reason: str
    accelerator: Any = None


def booster_for(reason: str) -> Choice:
    """The Choice of the booster."""
    return Choice(None, "booster", reason)


def choose(booster: xgboost.Booster, options: Mapping[str, Any], setting: Optional[str]) -> Choice:
    """The Choice for a booster that the base asks with `options`; `setting` is the engine of the settings, or None.

    Never raises: whatever goes wrong on the way to an engine is a reason for the booster. Logs the choice.
    """
    if setting not in ("auto", "daal4py", "native"):
        return booster_for("XGBPATCH_ENGINE={}".format(setting or "booster"))
    try:  # an engine that was not asked for is never loaded
        if setting == "native":
            from ..native import engine as native

            choice = native.accelerate(booster, options)
        else:
            from .. import onedal

            choice = onedal.accelerate(booster, options, setting)
    except Unsuitable as reason:
        choice = booster_for(str(reason))
    except Exception as error:
        logger.exception("%s could not be used", "daal4py" if setting == "auto" else setting)
        choice = booster_for("{}: {}".format(type(error).__name__, error))
    logger.info("Engine: %s (%s)", choice.engine, choice.reason)
    return choice


# The proof that an engine answers as the booster does, made at model load on rows where a wrong model shows.


FEWEST, MOST = 256, 2048
EXTREMES = (np.nan, 0.0, -0.0, 3e38, -3e38, 1e-45, -1e-45, 1.0)


def proof_rows(forest: model_booster.Forest) -> np.ndarray:
    """float32 (n, features): every cell a threshold of its feature or one float32 step beside it, some missing.

    After them rows of extremes and random rows. Deterministic. n grows with the thresholds of the busiest feature.
    """
    thresholds = _thresholds(forest)
    busiest = max((len(values) for values in thresholds.values()), default=0)
    count = int(np.clip(3 * busiest, FEWEST, MOST))
    random = np.random.RandomState(0)
    near = np.zeros((count, forest.features), dtype=np.float32)
    for feature, values in thresholds.items():
        near[:, feature] = _beside(values, count, random)
    missing = near[: count // 4].copy()
    missing[random.rand(*missing.shape) < 0.3] = np.nan
    extremes = np.repeat(np.array(EXTREMES, dtype=np.float32)[:, None], forest.features, axis=1)
    spread = random.standard_normal((64, forest.features)).astype(np.float32) * np.nanstd(near, axis=0)
    return np.ascontiguousarray(np.concatenate([near, missing, extremes, spread.astype(np.float32)]))


def prove(
    booster: xgboost.Booster,
    options: Mapping[str, Any],
    accelerated: Callable[..., Any],
    proof_rows: np.ndarray,
) -> str:
    """Why `accelerated(rows, dmatrix) -> (margins, predictions)` is not the booster, or an empty string.

    Both have to be those of `booster.predict` with the base's own options, bit for bit.
    """
    margins, predictions = accelerated(proof_rows, xgboost.DMatrix(proof_rows))
    for what, ours, output_margin in (("margins", margins, True), ("predictions", predictions, False)):
        theirs = booster.predict(xgboost.DMatrix(proof_rows), output_margin=output_margin, **options)
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            return "{} are {} {}, the booster's {} {}".format(what, ours.dtype, ours.shape, theirs.dtype, theirs.shape)
        if ours.tobytes() != theirs.tobytes():
            differ = int(np.sum(ours != theirs))
            largest = float(np.nanmax(np.abs(ours.astype(float) - theirs)))
            return "{} differ in {} of {} proof values, by up to {:.3g}".format(what, differ, ours.size, largest)
    return ""


def _thresholds(forest: model_booster.Forest) -> Dict[int, np.ndarray]:
    """Those of each feature, sorted, and its categories; pruned nodes are in the arrays too, and do no harm."""
    inner = [np.asarray(tree.left) != -1 for tree in forest.trees]
    features = [np.asarray(tree.feature)[splits] for tree, splits in zip(forest.trees, inner)]
    conditions = [tree.condition[splits] for tree, splits in zip(forest.trees, inner)]
    if not features:
        return {}
    sets = [(tree.feature[node], tree.categories[node]) for tree in forest.trees for node in tree.categories]
    features += [np.full(len(categories), feature) for feature, categories in sets]
    conditions += [np.array(categories, dtype=np.float32) for _, categories in sets]
    feature, condition = np.concatenate(features), np.concatenate(conditions)
    order = np.lexsort((condition, feature))
    feature, condition = feature[order], condition[order]
    starts = np.flatnonzero(np.diff(feature, prepend=-1))
    parts = zip(feature[starts].tolist(), np.split(condition, starts[1:]))
    return {number: np.unique(part) for number, part in parts if number < forest.features}


def _beside(values: np.ndarray, count: int, random: np.random.RandomState) -> np.ndarray:
    """`count` cells that go through every value and both its neighbours before any comes again, in random order."""
    infinity = np.float32(np.inf)
    all_values = np.concatenate([values, np.nextafter(values, -infinity), np.nextafter(values, infinity)])
    finite = all_values[np.isfinite(all_values)]
    return random.permutation(np.resize(random.permutation(finite), count))


# Whether a model can be converted in the memory that is free, while every worker converts its own at once.


TIMES = 20  # measured: at the peak the parsed document and both forests hold 15 to 20 times the model's JSON
LIMITS = (  # of a control group: its limit, what it uses, and the line of its statistics with what can be given back
    ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current", "sys/fs/cgroup/memory.stat", "inactive_file"),
    (
        "sys/fs/cgroup/memory/memory.limit_in_bytes",
        "sys/fs/cgroup/memory/memory.usage_in_bytes",
        "sys/fs/cgroup/memory/memory.stat",
        "total_inactive_file",
    ),
)


def guard_memory(document_bytes: int, environment: Mapping[str, str], times: int = TIMES, root: str = "/") -> str:
    """Why a model whose serialised form has so many bytes, and takes `times` as many at the peak, is not converted.

    An empty string where it may be.
    """
    needed, rest, sharing = times * document_bytes, free(root), workers(environment)
    if rest is None or needed * sharing <= rest:
        return ""
    return "converting it may take {} MiB in each of {} workers, and {} MiB are free".format(
        needed >> 20, sharing, rest >> 20
    )


def workers(environment: Mapping[str, str]) -> int:
    """How many workers of the base's server load a model at the same time."""
    if environment.get("SAGEMAKER_MULTI_MODEL"):
        return count(environment.get("SAGEMAKER_NUM_MODEL_WORKERS", "")) or 1
    return count(environment.get("SAGEMAKER_MODEL_SERVER_WORKERS", "")) or os.cpu_count() or 1


def free(root: str = "/") -> Optional[int]:
    """Bytes that this process may still take: what its container's limit leaves, and the machine has; None: unknown."""
    return min(_known(root), default=None)


def _known(root: str) -> Iterator[int]:
    for limit, usage, statistics, cache in LIMITS:
        most, used = _number(root, limit), _number(root, usage)
        if most is not None and used is not None:
            yield max(0, most - used + (_number(root, statistics, cache) or 0))
    available = _number(root, "proc/meminfo", "MemAvailable:")
    if available is not None:
        yield available * 1024


def _number(root: str, path: str, name: str = "") -> Optional[int]:
    """The number of a file, or behind `name` in its lines; None where there is none ("max" is none)."""
    try:
        with open(os.path.join(root, path), encoding="ascii") as file:
            lines = [line.split() for line in file]
    except (OSError, ValueError):
        return None
    for words in lines:
        number = words[1:2] if name and words[:1] == [name] else words[:1] if not name else []
        if number and number[0].isdecimal() and len(number[0]) < 20:
            return int(number[0])
    return None
