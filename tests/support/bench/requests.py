"""Processor time of a request inside the server's process: the base and the features, by turns in one run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from support.bench import environments
from support.bench.rivals import Rivals, Turns, Worker, take_turns
from xgbpatch.bench.models import RECIPES
from xgbpatch.standin.versions import VERSIONS

WORKER = Path(__file__).with_name("request_worker.py")
BASE = "base"
SHAP = {"XGBPATCH_FEATURES": "shap"}
DAAL4PY = {"XGBPATCH_FEATURES": "daal4py", "XGBPATCH_ENGINE": "auto"}
APPEND = {"XGBPATCH_SHAP_LAYOUT": "append"}
# name: the variables of an image that carries the features, as its user sets them
VARIANTS = {
    BASE: {},
    "shap, nothing asked": SHAP,
    "shap": {**SHAP, **APPEND},
    "daal4py": DAAL4PY,
    "native": {**SHAP, "XGBPATCH_ENGINE": "native"},
    "shap + native": {**SHAP, **APPEND, "XGBPATCH_ENGINE": "native"},
    "shap + daal4py": {**DAAL4PY, **APPEND, "XGBPATCH_FEATURES": "shap,daal4py"},
}
EXPLAINS = frozenset(name for name, variables in VARIANTS.items() if APPEND.items() <= variables.items())


START = ("base", "model", "start of", "CPU s", "of the base's", "MB held", "more than the base")


@dataclass(frozen=True)
class Case:
    """A model's requests of so many rows, answered by each variant."""

    version: str
    model: str
    rows: int
    turns: Turns
    starts: Mapping[str, Mapping[str, float]]


def measure(version: str, models: Sequence[str], rows: Sequence[int], variants: Sequence[str]) -> Iterator[Case]:
    """Each case once it is measured. Raises `AssertionError` where a plain answer is not the base's."""
    folders = environments.models(list(models))
    for model in models:
        with serving(version, model, folders[model], variants) as rivals:
            for count in rows:
                starts = {name: worker.ready for name, worker in rivals.workers.items()}
                yield Case(version, model, count, turns(rivals, count), starts)


@contextmanager
def serving(version: str, model: str, folder: Path, variants: Sequence[str]) -> Iterator[Rivals]:
    """A process a variant, the base among them, which serves that model."""
    with TemporaryDirectory(prefix="xgbpatch-bench-") as scratch, Rivals() as rivals:
        known = environments.environment(version, Path(scratch))
        python = str(environments.suite(version).python)
        threads = {"OMP_NUM_THREADS": "1"} if xgboost_of(version) >= (1, 5) else {}  # as the base's server sets it
        for number, name in enumerate(dict.fromkeys((BASE, *variants))):
            variables = {**known, **threads, **VARIANTS[name], "BENCH_FEATURES": str(RECIPES[model][0])}
            log = Path(scratch, f"{number}.log")
            rivals.add(name, Worker([python, str(WORKER), str(folder)], variables, log))
        yield rivals


def xgboost_of(version: str) -> tuple[int, ...]:
    """Of the base of that version, major and minor."""
    return tuple(int(part) for part in VERSIONS[version].xgboost.split(".")[:2])


def turns(rivals: Rivals, rows: int) -> Turns:
    """Requests of so many rows, by turns. Raises `AssertionError` where a plain answer is not the base's."""
    digests: dict[str, str] = {}

    def ask(name: str, count: int) -> float:
        seconds, digests[name] = rivals.workers[name].ask([rows, count])
        return float(seconds)

    result = take_turns({name: partial(ask, name) for name in rivals.workers})
    for name, digest in digests.items():
        assert name in EXPLAINS or digest == digests[BASE], f"{name}: a fast answer, and not the base's"
    return result


def rows_of(cases: Sequence[Case]) -> list[tuple[str, ...]]:
    """A table: a line a case and variant, processor time and the ratio to the base with its spread."""
    lines: list[tuple[str, ...]] = [
        ("base", "model", "rows", "answered by", "CPU ms a request", "of the base's", "from", "to")
    ]
    for case in cases:
        for name in case.turns.seconds:
            pairs = case.turns.pairs(name, BASE)
            ratios = tuple(f"{ratio:.2f}" for ratio in (case.turns.ratio(name, BASE), min(pairs), max(pairs)))
            milliseconds = f"{1000 * case.turns.best(name):.3g}"
            lines.append((case.version, case.model, str(case.rows), name, milliseconds, *ratios))
    return lines


def starts_of(cases: Sequence[Case]) -> list[tuple[str, ...]]:
    """A table: a line a model and variant, what its one start took, and the memory that the process held after it."""
    lines: list[tuple[str, ...]] = [START]
    for case in {case.model: case for case in cases}.values():
        base = case.starts[BASE]
        for name, start in case.starts.items():
            ratio, more = start["seconds"] / base["seconds"], (start["resident"] - base["resident"]) / 1e6
            figures = f"{start['seconds']:.2f}", f"{ratio:.2f}", f"{start['resident'] / 1e6:.0f}", f"{more:+.1f}"
            lines.append((case.version, case.model, name, *figures))
    return lines


def document(case: Case) -> dict[str, object]:
    """A case, for `--json`: processor seconds a request, round by round."""
    ratios = {name: case.turns.ratio(name, BASE) for name in case.turns.seconds}
    return {
        "version": case.version, "model": case.model, "rows": case.rows,
        "seconds": case.turns.seconds, "ratios": ratios, "starts": case.starts,
    }  # fmt: skip
