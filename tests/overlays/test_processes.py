"""oneDAL in a worker: one thread, sound after a fork, under gevent and from several threads."""

import subprocess
import sys

from xgbpatch_overlays import onedal

from support.overlays import forks

EXPLAINS = onedal.keeps_cover(onedal.load())
START = """
import os, sys
import numpy as np, xgboost
from support.overlays import zoo
from xgbpatch_overlays import request_data
from xgbpatch_overlays.model import accelerator
from xgbpatch_overlays import onedal

def threads():
    return len(os.listdir("/proc/self/task"))

def ready():
    booster = zoo.train(zoo.ZOO["softprob"])
    booster.set_param("nthread", 1)
    choice = accelerator.choose(booster, {}, "daal4py")
    assert choice.engine == "daal4py", choice.reason
    return booster, choice

def rows(count=10000, seed=1):
    return zoo.inputs(missing=True, rows=count, seed=seed).astype(np.float32)

def answers(choice, x):
    found = choice.answer(request_data.RecordedDMatrix(x), {}).tobytes()
    unexplained = choice.accelerator.model.unexplained
    return found, b"" if unexplained else choice.accelerator.model.explain(x[:200], False).tobytes()
"""
MAPPED = """
import daal4py, pathlib
booster, choice = ready()
answers(choice, rows())
model = choice.accelerator.model
model.unexplained or model.explain(rows(20), True)
packages = pathlib.Path(daal4py.__file__).resolve().parents[4]
lean = {"httptools", "uvicorn", "uvloop"}  # of the feature fast
files = [path for path in packages.rglob("*") if path.is_file() and not path.is_symlink() and path.suffix != ".pyc"]
held = sum(path.stat().st_size for path in files if not lean & set(path.parts))
mapped = {line.split()[-1] for line in open("/proc/self/maps") if str(packages) in line}
print(sum(os.path.getsize(path) for path in mapped) / held)
"""
ONE_THREAD = """
xgboost.DMatrix(rows())
before = threads()
for _ in range(3):  # models: of an ensemble each is converted by itself
    booster, choice = ready()
    answers(choice, rows())
print(threads() - before)
"""
SEVERAL = """
import daal4py

def several():
    daal4py.daalinit(2)
    return daal4py

onedal.load = several
xgboost.DMatrix(rows())
before = threads()
booster, choice = ready()
for _ in range(3):
    answers(choice, rows())
print(threads() - before)
"""
FORK = """
booster, choice = ready()
x = rows()
expected = answers(choice, x)
child = os.fork()
if not child:
    theirs = booster.predict(xgboost.DMatrix(x)).tobytes()
    os._exit(0 if answers(choice, x) == expected and theirs == expected[0] else 3)
print(os.waitpid(child, 0)[1], answers(choice, x) == expected)
"""
GEVENT_FIRST = "from gevent import monkey; monkey.patch_all()\n"
GEVENT = """
import gevent
booster, choice = ready()
inputs = [rows(500, seed) for seed in range(8)]
expected = [(booster.predict(xgboost.DMatrix(x)).tobytes(), answers(choice, x)[1]) for x in inputs]
jobs = [gevent.spawn(answers, choice, x) for x in inputs * 5]
gevent.joinall(jobs)
print([job.value for job in jobs] == expected * 5)
"""

# Without gevent: its import lock and a DMatrix of xgboost 1.5, which imports, stop each other across real threads.
THREADS = """
from concurrent.futures import ThreadPoolExecutor
booster, choice = ready()
inputs = [rows(500, seed) for seed in range(8)]
expected = [(booster.predict(xgboost.DMatrix(x)).tobytes(), answers(choice, x)[1]) for x in inputs]
with ThreadPoolExecutor(8) as pool:
    print(list(pool.map(lambda x: answers(choice, x), inputs * 5)) == expected * 5)
"""


def run(program):
    """The words of the last line that the program prints in a process of its own."""
    return words(forks.run(START + program))


def words(completed):
    assert completed.returncode == 0, completed.stderr
    return completed.stdout.splitlines()[-1].split()


def test_large_predictions_and_contributions_of_several_models_start_no_thread():
    """daal4py 2023 that was told its threads for each model had one of oneTBB that never rested."""
    assert run(ONE_THREAD) == ["0"]


def test_a_fork_after_use_answers_as_its_parent():
    assert run(FORK) == ["0", "True"]


def test_greenlets_get_their_own_answers():
    """Patches come before all other imports, as in a worker: no process that is forked can have that."""
    program = f"import sys; sys.path.insert(0, {forks.TESTS!r})\n" + GEVENT_FIRST + START + GEVENT
    command = [sys.executable, "-W", "ignore", "-c", program]
    assert words(subprocess.run(command, capture_output=True, timeout=120, text=True, check=False)) == ["True"]


def test_threads_get_their_own_answers():
    assert run(THREADS) == ["True"]


def test_the_slimmed_packages_hold_little_that_serving_does_not_map():
    assert float(run(MAPPED)[0]) > 0.95


def test_threads_are_seen_where_there_are_more():
    """The first test fails with oneDAL's own default, a thread for each processor."""
    assert int(run(SEVERAL)[0]) > 0
