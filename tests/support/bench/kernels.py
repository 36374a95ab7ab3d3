"""Engines for exact SHAP values side by side, by processor time on one thread, in one run."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from support.bench import environments
from support.bench.rivals import Rivals, Turns, Worker, take_turns
from xgbpatch.standin.parts import find_interpreter
from xgbpatch.standin.versions import VERSIONS

WORKER = Path(__file__).with_name("kernel_worker.py")
REFERENCE = "xgboost 3.2.0"
NEWEST = "xgboost 3.4.1"
OURS = "ours"
VARIANTS = ("ours, AVX-512", "ours, AVX2", "ours, baseline")
GROWING = (REFERENCE, NEWEST, "daal4py", OURS)  # those whose growth is shown; "shap" asks xgboost
# engine: what its own environment holds, on the newest Python that has it
PACKAGES = {
    NEWEST: ("native", "3.12", ("xgboost-cpu==3.4.1", "numpy", "scipy")),
    "shap": ("shap", "3.12", ("shap", "numba", "xgboost-cpu==3.2.0")),
    "shapiq": ("shapiq", "3.12", ("shapiq", "xgboost-cpu==3.2.0")),
    "daal4py": ("daal4py", "3.12", ("daal4py", "xgboost-cpu==3.2.0", "scipy", "scikit-learn", "setuptools<81")),
    "fasttreeshap": ("fasttreeshap", "3.8", ("fasttreeshap", "xgboost==1.5.2", "numpy==1.23.*")),
}
SECONDS = 1.5  # of processor time: an engine whose call takes longer is left out of larger batches of the model


class Unanswered(Exception):
    """An engine that cannot; the text says why."""


@dataclass(frozen=True)
class Case:
    """A batch of so many rows of a model, explained by each engine; `left_out` has the reason of the others."""

    model: str
    rows: int
    turns: Turns
    left_out: Mapping[str, str]


@contextmanager
def engines(names: Sequence[str] = ()) -> Iterator[tuple[Rivals, dict[str, str]]]:
    """A process for each engine that can be had, and why the others cannot; `names` empty: all of them."""
    missing: dict[str, str] = {}
    with TemporaryDirectory(prefix="xgbpatch-bench-") as scratch, Rivals() as rivals:
        for name, make_command in _commands(Path(scratch)).items():
            if names and name not in names:
                continue
            try:
                command, variables = make_command()
                log = Path(scratch, f"{len(rivals.workers)}.log")
                rivals.add(name, Worker(command, {**variables, "OMP_NUM_THREADS": "1"}, log))
            except (RuntimeError, SystemExit, OSError, subprocess.TimeoutExpired) as error:
                missing[name] = str(error).strip().splitlines()[-1][:200]
        yield rivals, missing


def _commands(scratch: Path) -> dict[str, Callable[[], tuple[list[str], dict[str, str]]]]:
    def kept(version: str, engine: str) -> tuple[list[str], dict[str, str]]:
        python = str(environments.suite(version).python)
        return [python, "-W", "ignore", str(WORKER), engine], environments.environment(version, scratch)

    def own(engine: str, python: str, pins: tuple[str, ...]) -> tuple[list[str], dict[str, str]]:
        interpreter = environment(python, pins)
        return [str(interpreter), "-W", "ignore", str(WORKER), engine], dict(environments.environment("3.2-0", scratch))

    versions = {f"xgboost {version.xgboost}": name for name, version in VERSIONS.items()}
    return {
        **{title: partial(kept, name, "native") for title, name in versions.items()},
        **{title: partial(own, *parts) for title, parts in PACKAGES.items()},
        **{title: partial(kept, "3.2-0", title) for title in (OURS, *VARIANTS)},
    }


def environment(python: str, pins: Sequence[str]) -> Path:
    """The interpreter of an environment with those packages, kept beside those of the overlay tests."""
    base = find_interpreter(python)
    digest = hashlib.sha256("\n".join(pins).encode()).hexdigest()[:12]
    folder = Path(environments.suite("3.2-0").folder).with_name(f"bench-{base.version}-{digest}")
    interpreter = folder / "venv" / "bin" / "python"
    if not (folder / "complete").exists():
        subprocess.run([str(base.executable), "-m", "venv", "--clear", str(folder / "venv")], check=True)
        command = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pins]
        completed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
        if completed.returncode:
            errors = [line for line in completed.stderr.splitlines() if line.startswith("ERROR")]
            raise RuntimeError(f"cannot be installed on Python {base.version}: {(errors or ['pip failed'])[-1]}")
        (folder / "complete").touch()
    return interpreter


def measure(rivals: Rivals, model: str, file: Path, rows: Sequence[int], rounds: int = 5) -> Iterator[Case]:
    """The case of each number of rows, the smallest first; what is slow at one is left out of the next."""
    left_out: dict[str, str] = {}
    for count in sorted(rows):
        ask = {}
        for name, worker in rivals.workers.items():
            if name in left_out:
                continue
            call = partial(_seconds, worker, file, count)
            try:
                call(1)
            except Unanswered as error:
                left_out[name] = str(error)
                continue
            ask[name] = call
        if ask:
            turns = take_turns(ask, rounds)
            yield Case(model, count, turns, dict(left_out))
            later = [more for more in rows if more > count]
            for name in ask if later else ():
                if turns.best(name) * min(later) / count > SECONDS:
                    left_out[name] = f"over {SECONDS:g} s a call"


def _seconds(worker: Worker, file: Path, rows: int, calls: int) -> float:
    reply: dict[str, Any] = worker.ask({"model": str(file / "xgboost-model"), "rows": rows, "calls": calls})
    if "reason" in reply:
        raise Unanswered(reply["reason"])
    return float(reply["seconds"])


QUIET = 0.9  # of a processor, that a thread has to get where wall time is to say something
THREADS = ("threads", "rows", "times faster on two", "from", "to", "a thread got of a processor")
LOAD = ("load", "CPU s", "model MB", "peak MB", "of them xgboost's writer", "kept MB")


def two_threads(worker: Worker, model: str, file: Path, rows: int, rounds: int = 9) -> tuple[str, ...]:
    """Of the native library: wall time on one thread over that on two, pair by pair; a line below THREADS."""

    def ask(threads: int, calls: int) -> dict[str, float]:
        question = {"model": str(file / "xgboost-model"), "rows": rows, "calls": calls, "threads": threads}
        reply: dict[str, float] = worker.ask(question)
        return reply

    ask(2, 1)
    calls = max(1, round(0.1 / ask(1, 1)["seconds"]))
    pairs, shares = [], []
    for number in range(rounds):
        replies = {threads: ask(threads, calls) for threads in ((1, 2) if number % 2 else (2, 1))}
        pairs.append(replies[1]["wall"] / replies[2]["wall"])
        shares.append(replies[1]["seconds"] / replies[1]["wall"])
    share = median(shares)
    busy = "" if share >= QUIET else ": BUSY, this says little"
    ratios = (f"{ratio:.2f}" for ratio in (median(pairs), min(pairs), max(pairs)))
    return (model, str(rows), *ratios, f"{share:.2f}{busy}")


def load(worker: Worker, model: str, file: Path) -> tuple[str, ...]:
    """What loading takes beside the booster; a line below LOAD."""
    figures = worker.ask({"load": str(file / "xgboost-model")})
    megabytes = (f"{figures[name] / 1e6:.1f}" for name in ("model", "peak", "writer", "kept"))
    return (model, f"{figures['seconds']:.2f}", *megabytes)


def rows_of(cases: Sequence[Case], missing: Mapping[str, str]) -> list[tuple[str, ...]]:
    """A table: a line an engine, a column a case: milliseconds, and how many times faster than the reference."""
    names = list(dict.fromkeys(name for case in cases for name in case.turns.seconds))
    lines: list[tuple[str, ...]] = [("CPU ms a call", *(f"{case.model}, {case.rows}" for case in cases))]
    lines += [(name, *(_cell(case, name) for case in cases)) for name in names]
    never = {name: why for case in cases for name, why in case.left_out.items() if name not in names}
    return lines + [(name, why, *[""] * (len(cases) - 1)) for name, why in {**missing, **never}.items()]


def _cell(case: Case, name: str) -> str:
    turns = case.turns
    if name not in turns.seconds:
        return "–"
    cell = f"{1000 * turns.best(name):.3g}"
    return f"{cell} ({1 / turns.ratio(name, REFERENCE):.1f})" if REFERENCE in turns.seconds else cell


def document(cases: Sequence[Case], missing: Mapping[str, str]) -> dict[str, object]:
    """All of it, for `--json`: processor seconds a call, round by round."""
    lines = [
        {"model": case.model, "rows": case.rows, "seconds": case.turns.seconds, "left_out": case.left_out}
        for case in cases
    ]
    return {"reference": REFERENCE, "cases": lines, "missing": dict(missing)}
