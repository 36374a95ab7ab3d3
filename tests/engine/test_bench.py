"""`xgbpatch bench` on a real engine."""

import re
import signal
import subprocess
import sys
import time

import pytest

from support.bases import chosen
from xgbpatch.bench import cases, runner
from xgbpatch.bench.cases import BATCH, MULTI_MODEL
from xgbpatch.bench.runner import Pace, Subject
from xgbpatch.errors import XgbpatchError
from xgbpatch.progress import Silent

pytestmark = pytest.mark.parametrize("version", chosen(), scope="session")


def test_an_interrupted_run_leaves_no_container(engine, base_of, version, tmp_path, monkeypatch):
    command = [sys.executable, "-m", "xgbpatch", "bench", base_of(version), "--quick", "--quiet"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # so that it begins with the training of the model
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 300
        while not engine.leftovers(process.pid) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        begun = engine.leftovers(process.pid)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=300)
    assert begun
    assert process.returncode == 130
    assert engine.leftovers(process.pid) == []


def test_an_image_that_cannot_train_the_models_is_named(engine, make_image, version, tmp_path):
    image = make_image()
    with pytest.raises(XgbpatchError, match=re.escape(image.tags[0])):
        runner.models(engine, image, ["tiny"], tmp_path, Silent())


def test_a_batch_job_and_a_multi_model_endpoint_are_measured(
    engine, base_of, patched, version, tmp_path, monkeypatch
):  # fmt: skip
    monkeypatch.setattr(cases, "PAYLOAD", 3000)
    base = engine.require_image(base_of(version))
    subjects = [Subject("base", base), Subject("shap", patched(version, "shap").image, explains=True)]
    folders = runner.models(engine, base, ["tiny"], tmp_path, Silent())
    (job,) = runner.run(engine, subjects, [cases.Case(BATCH, "tiny", 100, True)], folders, Pace(1, 1), Silent())
    endpoint_case = cases.Case(MULTI_MODEL, "tiny", 100, False)
    (endpoint,) = runner.run(engine, subjects[:1], [endpoint_case], folders, Pace(1, 1), Silent())
    assert (list(job.figures), list(endpoint.figures)) == (["base", "shap"], ["base"])
    for figures in (*job.figures.values(), *endpoint.figures.values()):
        assert (figures.refused, figures.wrong) == ("", 0)
        assert figures.rate > 0
        assert figures.cpu[0] > 0
        assert figures.peak > 10_000_000
    assert [figures.loads[0].requests for figures in job.figures.values()] == [job.case.payloads] * 2 == [3, 3]
