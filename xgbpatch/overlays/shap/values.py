"""Contributions: by xgboost itself, by the methods that were proved equal to it, what they cost, and their limits."""

from __future__ import annotations

import collections
import functools
import logging
import math
import os
import time
from dataclasses import dataclass, replace
from typing import Any, Callable, Deque, List, Optional, Sequence, Tuple

import numpy as np
import xgboost

from .. import native, request_data
from ..model import booster as model_booster
from ..model.booster import PredictCall
from ..settings import PROBABILITY, ShapOptions

logger = logging.getLogger(__name__)
MEMORY_LIMIT = 512 * 1024**2  # bytes of float32 that the answer may hold while it is made
TOLERANCE = 1e-2  # of max(1, |margin|), by which a sum of single-precision values may miss
VOTES = ("multi:softmax", "binary:hinge")


class NotExplained(Exception):
    """Why a request gets no SHAP values, and the HTTP status that says so."""

    def __init__(self, status: int, reason: str):
        super(NotExplained, self).__init__(reason)
        self.status = status
        self.reason = reason


# xgboost's own contributions, cut as the base's prediction was.
#
# Exact tree SHAP in margin space (Lundberg et al. 2020); the last value of each vector is the base value, and a
# vector adds up to the margin of its record.


def values(dmatrix: xgboost.DMatrix, call: PredictCall, options: ShapOptions) -> np.ndarray:
    """float32 (n, features + 1), or (n, classes, features + 1); raises ValueError, and xgboost's errors are such."""
    return _predict(dmatrix, call, pred_contribs=True, approx_contribs=options.approximate)


def interactions(dmatrix: xgboost.DMatrix, call: PredictCall, options: ShapOptions) -> np.ndarray:
    """float32 (n, [classes,] features + 1, features + 1), whose rows add up to `values`; raises as they do."""
    if model_booster.kind(call.booster) != "gblinear":
        return _predict(dmatrix, call, pred_interactions=True, approx_contribs=options.approximate)
    # A linear model's features do not interact; xgboost itself returns zeros for it, which add up to nothing.
    vectors = values(dmatrix, call, options)
    matrices = np.zeros(vectors.shape + vectors.shape[-1:], dtype=np.float32)
    diagonal = np.arange(vectors.shape[-1])
    matrices[..., diagonal, diagonal] = vectors
    return matrices


def _predict(dmatrix: xgboost.DMatrix, call: PredictCall, **contributions: bool) -> np.ndarray:
    wide = request_data.padded(dmatrix, model_booster.width(call.booster))
    return call.booster.predict(wide, **dict(call.options, **contributions))


def check(call: PredictCall) -> None:
    """Raise NotExplained (400) where the values do not add up to the margins of some rows, floating-point noise apart.

    xgboost 3.0 answers so for a loaded model with vector leaves: all zero, without an error.
    """
    rows = np.array([[0], [1], [np.nan]], dtype=np.float32).repeat(model_booster.width(call.booster), axis=1)
    margins = call.booster.predict(xgboost.DMatrix(rows), output_margin=True, **call.options)
    sums = values(xgboost.DMatrix(rows), call, ShapOptions()).sum(axis=-1)
    if sums.shape != margins.shape or np.any(np.abs(sums - margins) > TOLERANCE * np.maximum(1, np.abs(margins))):
        raise NotExplained(
            400, "Unable to explain with this model: xgboost's SHAP values of it do not add up to its predictions"
        )


def refuse_votes(objectives: Sequence[str]) -> None:
    """Raise NotExplained (400) for an ensemble of models with these objectives whose answer is a vote."""
    for objective in objectives:
        if objective in VOTES:
            raise NotExplained(
                400, "Unable to explain an ensemble that votes ({}): no sum is its answer".format(objective)
            )


def mean(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of the members' arrays, of one its own; raises NotExplained (400) where they differ in shape."""
    if len(arrays) == 1:
        return arrays[0]
    if len({array.shape for array in arrays}) > 1:
        raise NotExplained(400, "Unable to explain an ensemble of models with different features or classes")
    whole: np.ndarray = np.mean(arrays, axis=0)
    return whole


# What the contributions of a request will cost, from a timed run of the model, and what they may cost.


ROWS = 8
NOTICED = 1.0  # seconds of a proof and a measurement below which they are not counted
DEAR = 0.5  # seconds for one row above which a second timed run would delay the start
SUSTAINED = 0.4  # seconds of a loop that sees how much CPU time comes at the moment
LONG = 5.0  # seconds of an estimate before which such a loop is little
ADVISED = 0.8  # of the limit of seconds: what is advised is to be accepted where the next loop says somewhat more


@dataclass(frozen=True)
class Cost:
    """Seconds that a call takes before its first row, and for each row."""

    call: float
    row: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.call + other.call, self.row + other.row)

    def times(self, factor: float) -> "Cost":
        return Cost(self.call * factor, self.row * factor)

    def seconds(self, rows: int) -> float:
        return self.call + rows * self.row

    def rows_within(self, seconds: float) -> int:
        """The largest number of rows that `seconds` allow."""
        return max(0, int((seconds - self.call) / self.row))


NOTHING = Cost(0.0, 0.0)


def zeros(width: int) -> np.ndarray:
    """A sample for exact tree SHAP, which visits every leaf for every row, whatever its values.

    O(trees x leaves x depth^2) a row (Lundberg et al. 2020).
    """
    return np.zeros((ROWS, width), dtype=np.float32)


def measure(explain: Callable[[Any], Any], sample: np.ndarray) -> Cost:
    """The Cost of `explain(dmatrix)` for records like those of `sample`, float32 (n, features), n at least 2."""
    one = _quickest(explain, sample[:1])
    if one > DEAR:
        return Cost(0.0, one)
    row = max((_quickest(explain, sample) - one) / (len(sample) - 1), one / len(sample))
    return Cost(max(one - row, 0.0), row)


def _quickest(explain: Callable[[Any], Any], rows: np.ndarray) -> float:
    """Seconds of the quicker of two runs, or of one that is dear."""
    quickest = float("inf")
    for _ in range(2):
        matrix = request_data.RecordedDMatrix(rows)
        quickest = min(quickest, _seconds(lambda: explain(matrix)))  # noqa: B023
        if quickest > DEAR:
            break
    return quickest


def _seconds(work: Callable[[], Any], root: str = "/") -> float:
    """What `work` takes where it goes on for long.

    Under a limit of the container that is its CPU time at the rate that the limit allows: a short run may have been
    stopped on the way, or may have ended before it had used up what a period of the scheduler gives (100 ms as a rule).
    """
    start, begun = time.perf_counter(), time.process_time()
    work()
    used, elapsed = time.process_time() - begun, time.perf_counter() - start
    limit = cpus(root)
    return elapsed if math.isinf(limit) else used / min(limit, max(1.0, used / elapsed))


def slowness(root: str = "/") -> float:
    """How many times longer work takes at the moment than `_seconds` says, at least 1: others compute too.

    A loop of SUSTAINED seconds, several periods of the scheduler, finds it out.
    """
    start, begun = time.perf_counter(), time.thread_time()
    while time.perf_counter() - start < SUSTAINED:
        pass
    used, elapsed = time.thread_time() - begun, time.perf_counter() - start
    return max(1.0, min(1.0, cpus(root)) * elapsed / max(used, 1e-6))


def cpus(root: str = "/") -> float:
    """How many CPUs the container's limit gives it; infinity where there is no limit."""
    quotas = (("sys/fs/cgroup/cpu.max",), ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "sys/fs/cgroup/cpu/cpu.cfs_period_us"))
    for names in quotas:
        words: List[str] = []
        try:
            for name in names:
                with open(os.path.join(root, name), encoding="ascii") as file:
                    words += file.read().split()
            quota, period = (float(word) for word in words)
        except (OSError, ValueError):  # "max", and -1 below, are no limit
            continue
        if quota > 0 and period > 0:
            return quota / period
    return float("inf")


@functools.lru_cache(maxsize=None)
def written() -> float:
    """Seconds to write one number of a response, by the quickest of five runs, as it counts until the process ends."""
    numbers = np.linspace(-1, 1, 4096, dtype=np.float32).reshape(64, 64)
    runs = [
        _seconds(lambda: [",".join(native.shortest(numbers)) for _ in range(2)]) for _ in range(5)
    ]  # and put together
    return min(runs) / numbers.size


def numbers(outputs: int, width: int, options: ShapOptions) -> int:
    """How many values the explanation of one record holds, of a model with so many outputs and features."""
    return outputs * (width + 1) * (1 + width + 1 if options.interactions else 1)


def check_limits(rows: int, cost: Cost, numbers: int, seconds: float) -> None:
    """Raise NotExplained (413) where `rows` records take more than `seconds` to the last byte, or than MEMORY_LIMIT.

    It says how many would fit. `cost` is that of all members, `numbers` float32 values make up a record.
    """
    cost, excess = cost + Cost(0.0, numbers * written()), ""
    if cost.seconds(rows) > LONG:
        cost = cost.times(slowness())
    fit = cost.rows_within(ADVISED * seconds) or min(1, cost.rows_within(seconds))
    estimate, size = cost.seconds(rows), rows * numbers * 4
    if estimate > seconds:
        excess = "would take about {:.0f} s, the limit is {:g} s (XGBPATCH_SHAP_SECONDS)".format(estimate, seconds)
    elif size > MEMORY_LIMIT:
        excess = "would take {} MiB, the limit is {}".format(size >> 20, MEMORY_LIMIT >> 20)
        fit = min(fit, MEMORY_LIMIT // (numbers * 4))
    if excess:
        raise NotExplained(413, "SHAP values of {} records {}: {}".format(rows, excess, advice(fit)))


def check_spent(spent: float, estimate: float, seconds: float) -> None:
    """Raise NotExplained (503) where a request has used up its `seconds` by proving and measuring, which comes once."""
    if spent > NOTICED and spent + estimate > seconds:
        raise NotExplained(
            503,
            "The first request of its kind measured the model for {:.0f} s, and its SHAP values would take "
            "about {:.0f} s more, the limit is {:g} s (XGBPATCH_SHAP_SECONDS): send it again".format(
                spent, estimate, seconds
            ),
        )


def advice(fit: int) -> str:
    """What a client can do where `fit` records would have been accepted."""
    return "send at most {} records a request".format(fit) if fit else "not even one record fits"


# The methods that compute an array of an explanation for one booster, and what each costs.


ENGINE_TOLERANCE = 1e-4  # of max(1, |margin|); engines add in single precision, in other orders, or in double
PROOF_ROWS, PROOF_SECONDS = 8, 2.0


@dataclass(frozen=True)
class Method:
    """`rows(dmatrix, call)` is what `compute(rows, call)` makes the array of, or None where a request is not for it.

    `cost(call)` may have to measure the booster, once. `preferred` serves before others, whatever they cost.
    """

    rows: Callable[[Any, PredictCall], Any]
    compute: Callable[[Any, PredictCall], np.ndarray]
    cost: Callable[[PredictCall], Cost]
    preferred: bool = False


def known(cost: Cost) -> Callable[[PredictCall], Cost]:
    """Of a Method that was measured."""
    return lambda call: cost


def measured_once(measured: Callable[[PredictCall], Cost]) -> Callable[[PredictCall], Cost]:
    """Of a Method that is measured when somebody asks for it; what it keeps is not the booster."""
    costs: List[Cost] = []

    def cost(call: PredictCall) -> Cost:
        if not costs:
            costs.append(measured(call))
        return costs[0]

    return cost


def methods(accelerator: Any, folder: Optional[str], call: PredictCall, options: ShapOptions) -> Tuple[Method, ...]:
    """Every Method that is worth its cost, the last of which takes every request.

    `accelerator` is the booster's Accelerator or None, `folder` where its model lies or None. Raises ValueError, and
    NotExplained where there is no method.
    """
    if options.space == PROBABILITY:
        from . import probability

        explain, sample = probability.verified_method(folder, call, options)
        return (Method(_matrix, lambda matrix, _: explain(matrix), known(measure(explain, sample))),)
    own = Method(
        _matrix,
        lambda matrix, call: by_booster(matrix, call, options),
        measured_once(lambda call: booster_cost(call, options)),
    )
    engines: List[Method] = []
    if accelerator is not None and not options.approximate:
        try:
            engines.append(_by_engine(accelerator, call, options))
        except Exception as error:  # an engine never stands in the way of the booster
            logger.info("SHAP values stay with the booster: %s", error)
    if not engines:  # what an engine was proved with adds up
        check(call)
    if not engines or not engines[0].preferred:
        own.cost(call)  # now, and not in a request
    return (*engines, own)


def by_booster(dmatrix: Any, call: PredictCall, options: ShapOptions) -> np.ndarray:
    """xgboost's own array: interactions where `options` have them, else contributions."""
    return (interactions if options.interactions else values)(dmatrix, call, options)


def booster_cost(call: PredictCall, options: ShapOptions) -> Cost:
    """Interactions are one run of contributions with each feature fixed to each side, so dear ones are not timed."""
    width = model_booster.width(call.booster)
    if options.interactions:
        bound = booster_cost(call, replace(options, interactions=False)).times(2 * (width + 1))
        if bound.row > DEAR:
            return bound
    return measure(lambda matrix: by_booster(matrix, call, options), zeros(width))


def _matrix(dmatrix: Any, call: PredictCall) -> Any:
    return dmatrix


# An engine's contributions, for a model whose margins were proved equal, once they are proved to be xgboost's too.


class Unproved(Exception):
    """Why an engine does not explain with a model."""


def _by_engine(accelerator: Any, call: PredictCall, options: ShapOptions) -> Method:
    """The engine's Method; raises Unproved. Proved, the booster's own values add up to its margins as well."""
    model, interactions = accelerator.model, options.interactions
    if model.unexplained:
        raise Unproved(model.unexplained)
    _prove(accelerator, call, options)
    last = (Ellipsis, -1, -1) if interactions else (Ellipsis, -1)
    first = xgboost.DMatrix(accelerator.sample[:1])
    base = values(first, call, ShapOptions())[0, ..., -1] if model.wavers else None

    def compute(rows: np.ndarray, call: PredictCall) -> np.ndarray:
        array: np.ndarray = model.explain(rows, interactions)
        if model.wavers:
            array[last] = base  # oneDAL's differs from record to record in its last bits
        return array

    def rows(dmatrix: Any, call: PredictCall) -> Any:
        return accelerator.rows(dmatrix, call.options, narrower=True)

    cost = measure(lambda matrix: compute(rows(matrix, call), call), zeros(model_booster.width(call.booster)))
    return Method(rows, compute, known(cost), preferred=not accelerator.compares)


def _prove(accelerator: Any, call: PredictCall, options: ShapOptions) -> None:
    """Raise Unproved where the engine's array is not the booster's for rows of the sample, or cannot be held to it.

    The sample has rows beside thresholds, with cells missing, and spread ones, in this order.
    """
    sample = accelerator.sample
    begun = time.perf_counter()
    theirs = by_booster(xgboost.DMatrix(sample[:1]), call, options)
    seconds = time.perf_counter() - begun
    count = min(PROOF_ROWS, int(PROOF_SECONDS / seconds))
    if not count:
        raise Unproved("a proof would take {:.1f} s a row".format(seconds))
    rows = sample[np.linspace(0, len(sample) - 1, count).astype(int)]
    if count > 1:
        theirs = np.concatenate([theirs, by_booster(xgboost.DMatrix(rows[1:]), call, options)])
    margins = call.booster.predict(xgboost.DMatrix(rows), output_margin=True, **call.options)
    reason = difference(accelerator.model.explain(rows, options.interactions), theirs, margins)
    if reason:
        raise Unproved("{}'s {}".format(accelerator.name, reason))
    what = "interactions" if options.interactions else "values"
    logger.info("SHAP %s by %s: proved on %d rows", what, accelerator.name, count)


def difference(ours: np.ndarray, theirs: np.ndarray, margins: np.ndarray) -> str:
    """How an engine's contributions, or interactions, differ from the booster's, or an empty string.

    They have to be the booster's, and to add up to the margins of their rows, within 1e-4 x max(1, |margin|).
    """
    if ours.shape != theirs.shape:
        return "have the shape {} instead of {}".format(ours.shape, theirs.shape)
    axes = tuple(range(margins.ndim, ours.ndim))
    scale = ENGINE_TOLERANCE * np.maximum(1, np.abs(margins))
    differs = np.max(np.abs(ours - theirs).max(axis=axes) / scale)
    misses = np.max(np.abs(ours.sum(axis=axes) - margins) / scale)
    if differs <= 1 and misses <= 1:
        return ""
    return "differ by {:.2g}, and miss the margin by {:.2g} (x {} x max(1, |margin|))".format(
        differs, misses, ENGINE_TOLERANCE
    )


# The slices of a long request: between two of them a worker answers others.


SLICE = 0.1  # seconds
GRACE = 5.0  # seconds beyond the limit after which nobody waits for the answer any more
_turns: Deque[object] = collections.deque()  # of the requests that have several slices; the first one computes


def in_slices(
    compute: Callable[[int, int], Sequence[np.ndarray]], rows: int, cost: Cost, seconds: float
) -> Sequence[np.ndarray]:
    """`compute(start, stop)`, arrays of the records from `start` to before `stop`, for all `rows` records.

    Explanations of several slices come one after the other, so that none is slowed down by a later one. Under gevent,
    and between threads, `time.sleep` lets others go on. Raises NotExplained (413) GRACE after the limit of `seconds`.
    """
    step = cost.rows_within(max(SLICE, 20 * cost.call))
    if rows > step:
        step = max(os.cpu_count() or 1, step)
    if rows <= step:
        return compute(0, rows)
    turn, deadline = object(), time.perf_counter() + seconds + GRACE
    arrays: List[np.ndarray] = []
    _turns.append(turn)
    try:
        while _turns[0] is not turn:
            _check_deadline(deadline, 0, rows, seconds)
            time.sleep(0.01)
        for start in range(0, rows, step):
            _check_deadline(deadline, start, rows, seconds)
            part = compute(start, min(start + step, rows))
            arrays = arrays or [np.empty((rows,) + array.shape[1:], dtype=array.dtype) for array in part]
            for whole, array in zip(arrays, part):
                whole[start : start + step] = array
            time.sleep(0)
    finally:
        _turns.remove(turn)
    return arrays


def _check_deadline(deadline: float, done: int, rows: int, seconds: float) -> None:
    if time.perf_counter() > deadline:
        reason = "took longer than was expected, the limit is {:g} s (XGBPATCH_SHAP_SECONDS)".format(seconds)
        fit = "send at most {} records a request".format(done) if done else "send them again later"
        raise NotExplained(413 if done else 503, "SHAP values of {} records {}: {}".format(rows, reason, fit))
