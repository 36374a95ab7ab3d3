"""The native library in the place of a booster: it predicts where it was proved to answer the same, and explains.

Margins are xgboost's own, bit for bit: the same additions in single precision, in the same order. Contributions and
interactions are computed in double precision throughout; the method and its sources stand in
`xgbpatch/native/contributions.h`.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import threading
import time
import weakref
from typing import Any, Callable, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np
import xgboost

from .. import native
from ..model import accelerator as proof
from ..model import booster as model_booster
from ..model.accelerator import Accelerator, Choice
from ..model.booster import XGBOOST, Forest, Tree, Unsuitable
from ..shap.values import cpus

logger = logging.getLogger(__name__)
KERNELS = ("baseline", "AVX2", "AVX-512")  # as the library numbers them
ERRORS = {
    1: "there is not enough memory for its trees",
    2: "a tree is damaged",
    3: "a tree is too deep",
    4: "a threshold is not a number, or the lowest",
}
NO_COVER, MANY_FEATURES = "a split has no cover, or less than below it", "a path has more than 256 features"
UNEXPLAINED = {1: NO_COVER, 2: MANY_FEATURES, 3: NO_COVER}
TURNS = 15  # of timing the kernels: some 20 ms in all
WORTH_A_THREAD = 200000  # splits times rows: less takes under a millisecond


class Timing(NamedTuple):
    """Seconds of the kernel `number`: `call` once, `group` for each `width` rows, which it takes side by side."""

    number: int
    width: int
    call: float
    group: float

    def seconds(self, rows: int) -> float:
        return self.call + -(-rows // self.width) * self.group


class Kernels(NamedTuple):
    """The numbers of the kernels for `many` rows and for one, `alone`, which takes `one` seconds; all as `timings`."""

    many: int
    alone: int
    one: float
    timings: Tuple[Timing, ...]

    def of(self, rows: int) -> Optional[int]:
        """The quickest kernel for so many rows at once, None where one row after the other is quicker."""
        if rows < 2:
            return None
        best = min(self.timings, key=lambda timing: timing.seconds(rows))
        return best.number if best.seconds(rows) < rows * self.one else None


class NativeForest(object):
    """A model's trees in the library's memory.

    Rows are float32 (n, features) in C order, and NaN is missing; any other array raises ValueError. `threads` is how
    many share the rows of a call; they end with it. `kernel` is one of KERNELS, by default this machine's quickest.
    `unexplained` is why there are no contributions, or empty. Raises Unsuitable where the library cannot hold the
    model.
    """

    def __init__(self, forest: Forest, threads: int = 1, kernel: Optional[str] = None):
        self._library = native.load()
        self.features = forest.features
        self.outputs = len(forest.groups)
        self.threads = threads
        self._base = np.array(forest.base, dtype=np.float32)
        # older releases add a row's trees first, and then what the row begins with
        base_first_since = (1, 4) if forest.dart else (1, 3)
        self._base_last = int(base_first_since > XGBOOST)
        self._forest = _copied(self._library, forest)
        weakref.finalize(self, self._library.xgbpatch_forest_free, self._forest)
        self.unexplained = UNEXPLAINED.get(self._library.xgbpatch_forest_unexplained(self._forest), "")
        self.bytes = int(self._library.xgbpatch_forest_bytes(self._forest))
        self._splits = int(self._library.xgbpatch_forest_splits(self._forest))
        self._kernels = _kernels(kernel) if kernel else quickest()
        self.kernel = KERNELS[self._kernels.many]

    def margins(self, rows: np.ndarray, base_margin: Optional[np.ndarray] = None) -> np.ndarray:
        """float32 (n, outputs). `base_margin`, as many numbers, is what the rows begin with instead of the model's."""
        self._check(rows)
        margins = np.empty((len(rows), self.outputs), dtype=np.float32)
        each = int(base_margin is not None)
        base = self._bases(rows, base_margin)
        call = self._library.xgbpatch_margins

        def compute(begin: int, end: int) -> int:
            start = base[begin:] if each else base
            rest = (end - begin, _at(start), each, self._base_last, _at(margins, begin))
            failed: int = call(self._forest, _at(rows, begin), *rest)
            return failed

        self._run(compute, len(rows), 8 * self.outputs)
        return margins

    def contributions(self, rows: np.ndarray, base_margin: Optional[np.ndarray] = None) -> np.ndarray:
        """float64 (n, outputs, features + 1), the base value last: the values of a row add up to its margin.

        Raises Unsuitable where the model has no contributions, and MemoryError.
        """
        values = np.empty((len(rows), self.outputs, self.features + 1))
        kernel = self._kernels.of(len(rows))
        if kernel is None:
            self._explain("contributions_of_rows", self._kernels.alone, rows, values)
        else:
            self._explain("contributions", kernel, rows, values)
        values[..., -1] += self._bases(rows, base_margin)
        return values

    def interactions(self, rows: np.ndarray, base_margin: Optional[np.ndarray] = None) -> np.ndarray:
        """float64 (n, outputs, features + 1, features + 1), symmetric: its rows add up to `contributions`.

        Raises Unsuitable where the model has no contributions, and MemoryError.
        """
        values = np.empty((len(rows), self.outputs, self.features + 1, self.features + 1))
        self._explain("interactions", self._kernels.many, rows, values)
        values[..., -1, -1] += self._bases(rows, base_margin)
        return values

    def _explain(self, name: str, number: int, rows: np.ndarray, values: np.ndarray) -> None:
        if self.unexplained:
            raise Unsuitable(self.unexplained)
        self._check(rows)
        call = getattr(self._library, "xgbpatch_" + name)

        def compute(begin: int, end: int) -> int:
            failed: int = call(self._forest, number, _at(rows, begin), end - begin, _at(values, begin))
            return failed

        self._run(compute, len(rows), 1)

    def _check(self, rows: np.ndarray) -> None:
        if rows.dtype != np.float32 or rows.ndim != 2 or rows.shape[1] != self.features or not rows.flags.c_contiguous:
            raise ValueError("rows have to be float32 (n, {}) in C order".format(self.features))

    def _bases(self, rows: np.ndarray, base_margin: Optional[np.ndarray]) -> np.ndarray:
        if base_margin is None:
            return self._base
        return np.ascontiguousarray(base_margin, dtype=np.float32).reshape(len(rows), self.outputs)

    def _run(self, compute: Callable[[int, int], int], rows: int, cheaper: int) -> None:
        """`compute(begin, end)` for all rows, in slices side by side where that is worth a thread's start."""
        most = rows * self._splits // (WORTH_A_THREAD * cheaper)
        slices = min(self.threads, most, rows)
        if slices <= 1:
            failures, bounds = [compute(0, rows)], [(0, rows)]
        else:
            width = -(-rows // slices)
            width = -(-width // 16) * 16  # kernels take 8 or 16 rows at once
            bounds = [(begin, min(rows, begin + width)) for begin in range(0, rows, width)]
            failures = []
            started = [threading.Thread(target=lambda b=bound: failures.append(compute(*b))) for bound in bounds[1:]]
            for thread in started:
                thread.start()
            failures.append(compute(*bounds[0]))
            for thread in started:
                thread.join()
        if any(failures) or len(failures) < len(bounds):
            raise MemoryError("the native library has not enough memory for {} rows".format(rows))


def spare_threads(environment: Mapping[str, str], workers: int, cpus: float) -> int:
    """The threads for one of `workers` processes: what OMP_NUM_THREADS says, but no more than its share of the CPUs.

    `cpus` is what the container's limit gives, or infinity.
    """
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = max(1, int(min(own, cpus)) // max(1, workers))
    try:
        return max(1, min(share, int(environment.get("OMP_NUM_THREADS", "") or share)))
    except ValueError:
        return share


def kernels() -> Tuple[str, ...]:
    """Those of KERNELS that this machine can run; raises Unsuitable where there is no library."""
    return KERNELS[: native.load().xgbpatch_kernels()]


def _kernels(kernel: str) -> Kernels:
    if kernel not in kernels():
        raise Unsuitable("this machine cannot run the kernel {}".format(kernel))
    number = KERNELS.index(kernel)
    return Kernels(number, number, 1.0, (Timing(number, 1, 0.0, 0.0),))


@functools.lru_cache(maxsize=None)
def quickest() -> Kernels:
    """The quickest kernels of this machine, timed on a small forest: what a processor can run need not be fast."""
    sample = _small_forest()
    rows = np.random.RandomState(0).standard_normal((96, sample.features)).astype(np.float32)
    forests = [NativeForest(sample, kernel=kernel) for kernel in kernels()]
    parts = (rows, rows[:16], rows[:1])
    # by turns, so that what else the machine does at the moment is no kernel's loss
    turns = [[[_seconds(forest, part) for part in parts] for forest in forests] for _ in range(TURNS)]
    quickest_of = np.min(turns, axis=0).tolist()
    timings = []
    for number, (all_rows, few, _) in enumerate(quickest_of):
        width = forests[number]._library.xgbpatch_kernel_width(number)
        group = (all_rows - few) / (len(rows) - 16) * width
        timings.append(Timing(number, width, max(0.0, few - 16 / width * group), group))
    alone = [(one, number) for number, (_, _, one) in enumerate(quickest_of)]
    many = min(timings, key=lambda timing: timing.group / timing.width).number
    return Kernels(many, min(alone)[1], min(alone)[0], tuple(timings))


def _seconds(forest: NativeForest, rows: np.ndarray) -> float:
    begun = time.perf_counter()
    forest.contributions(rows)
    return time.perf_counter() - begun


def _small_forest(depth: int = 6, trees: int = 20, features: int = 12) -> Forest:
    """Full trees of that depth, with random splits."""
    random, inner = np.random.RandomState(0), 2**depth - 1
    nodes = 2 * inner + 1
    place = np.arange(nodes)

    def tree() -> Tree:
        return Tree(
            left=np.where(place < inner, 2 * place + 1, -1),
            right=np.where(place < inner, 2 * place + 2, -1),
            feature=random.randint(0, features, nodes),
            condition=random.standard_normal(nodes).astype(np.float32),
            default_left=random.randint(0, 2, nodes),
            cover=2.0 ** (depth - np.floor(np.log2(place + 1))),
            weight=np.float32(1),
        )

    return Forest("", features, (tuple(tree() for _ in range(trees)),), (np.float32(0),))


def _copied(loaded: ctypes.CDLL, forest: Forest) -> int:
    """The address of the library's own forest; raises Unsuitable."""
    handle: int = loaded.xgbpatch_forest(forest.features, len(forest.groups))
    if not handle:
        raise Unsuitable(ERRORS[1])
    try:
        for output, trees in enumerate(forest.groups):
            for tree in trees:
                _hold(_add(loaded, handle, tree))
            loaded.xgbpatch_forest_output(handle, output)
        _hold(loaded.xgbpatch_forest_end(handle))
    except BaseException:
        loaded.xgbpatch_forest_free(handle)
        raise
    return handle


def _add(loaded: ctypes.CDLL, handle: int, tree: Tree) -> int:
    integers = [np.ascontiguousarray(array, dtype=np.int32) for array in (tree.left, tree.right, tree.feature)]
    reals = [np.ascontiguousarray(array, dtype=np.float32) for array in (tree.condition, tree.cover)]
    default_left = np.ascontiguousarray(tree.default_left, dtype=np.uint8)
    if len({len(array) for array in integers + reals + [default_left]}) > 1:
        return 2
    starts, words = _sets(tree)
    error: int = loaded.xgbpatch_forest_add(
        handle, len(integers[0]), *[_at(array) for array in integers], _at(reals[0]), _at(default_left), _at(reals[1]),
        float(tree.weight), _at(starts), _at(words), 0 if words is None else len(words),
    )  # fmt: skip
    return error


def _sets(tree: Tree) -> Tuple[Optional[np.ndarray], Optional[np.ndarray]]:
    """Of each node where its set begins in the second array, or -1; there the number of words, then these."""
    if not tree.categories:
        return None, None
    words: List[int] = []
    starts = np.full(len(tree.left), -1, dtype=np.int32)
    for node, categories in tree.categories.items():
        members = [int(category) for category in categories]
        size = max(members, default=-1) // 32 + 1
        bits = [0] * size
        for category in members:
            bits[category // 32] |= 1 << category % 32
        starts[node] = len(words)
        words += [size] + bits
    return starts, np.array(words, dtype=np.uint32)


def _hold(error: int) -> None:
    if error:
        raise Unsuitable(ERRORS[error])


def _at(array: Optional[np.ndarray], row: int = 0) -> Optional[int]:
    """The address of a row of an array in C order, which its caller keeps alive."""
    return None if array is None else native.address(array) + row * array.strides[0]


# A model's trees in the place of its booster.


NAME = "native"
SAMPLE = 128  # rows of a proof that are kept for another
TIMES = 10  # measured: at the peak an old xgboost's writer, arrays and forest hold up to 9 times the serialised model


class NativeModel(object):
    """A model's trees in the library, as an Accelerator has them. `unexplained` is why it has no contributions."""

    wavers = False

    def __init__(self, forest: model_booster.Forest):
        threads = spare_threads(os.environ, proof.workers(os.environ), cpus())
        self._forest = NativeForest(forest, threads=threads)
        self.features = self._forest.features
        self.unexplained = self._forest.unexplained

    def margins(self, rows: np.ndarray) -> np.ndarray:
        """float32 (n,) or (n, outputs) of float32 `rows` (n, features)."""
        return self._without_axis(self._forest.margins(rows))

    def explain(self, rows: np.ndarray, interactions: bool) -> np.ndarray:
        """Contributions, float32 (n, [outputs,] features + 1), or with `interactions` one more such axis; bias last."""
        explain = self._forest.interactions if interactions else self._forest.contributions
        return self._without_axis(explain(rows).astype(np.float32))

    def _without_axis(self, array: np.ndarray) -> np.ndarray:
        return array[:, 0] if self._forest.outputs == 1 else array


def accelerate(booster: xgboost.Booster, options: Mapping[str, Any]) -> Choice:
    """The Choice of the native library; raises Unsuitable, or what goes wrong on the way."""
    start = time.perf_counter()
    document, model, rows = _converted(booster, options)
    if document["learner"]["objective"]["name"] not in proof.KNOWN:
        raise Unsuitable('the objective "{}" is not known'.format(document["learner"]["objective"]["name"]))
    accelerator = Accelerator(NAME, model, proof.MarginLink(document), options, _sample(rows))
    built = time.perf_counter()
    reason = proof.prove(booster, options, accelerator.evaluate, rows)
    if reason:
        raise Unsuitable(reason)
    reason = "converted in {:.2f} s, proved equal on {} rows in {:.2f} s".format(
        built - start, len(rows), time.perf_counter() - built
    )
    return Choice(accelerator.answer, NAME, reason, accelerator)


def explaining(booster: xgboost.Booster, options: Mapping[str, Any]) -> Optional[Accelerator]:
    """An Accelerator that only explains, where its margins are the booster's, bit for bit; else None.

    The log says why. Its contributions are still to be proved.
    """
    try:
        _, model, rows = _converted(booster, options)
        theirs = booster.predict(xgboost.DMatrix(rows), output_margin=True, **options)
        ours = model.margins(rows)
        if ours.shape != theirs.shape or ours.tobytes() != theirs.tobytes():
            raise Unsuitable("its margins differ from the booster's")
    except Unsuitable as reason:
        logger.info("SHAP values stay with the booster: %s", reason)
        return None
    except Exception:  # an engine never stands in the way of the booster
        logger.exception("The native library could not be used")
        return None
    return Accelerator(NAME, model, None, options, _sample(rows))


def _converted(booster: xgboost.Booster, options: Mapping[str, Any]) -> Any:
    """(document, NativeModel, rows of a proof); raises Unsuitable."""

    def guard(size: int) -> None:
        reason = proof.guard_memory(size, os.environ, TIMES)
        if reason:
            raise Unsuitable(reason)

    document = model_booster.document(booster, guard, arrays=True)
    forest = model_booster.forest(document, options)
    return document, NativeModel(forest), proof.proof_rows(forest)


def _sample(rows: np.ndarray) -> np.ndarray:
    sample: np.ndarray = rows[np.linspace(0, len(rows) - 1, SAMPLE).astype(int)]
    return sample
