"""Fixes in the real image: what the clients of its servers and the starter of its `serve` see, beside the base."""

import json
import time
from dataclasses import replace

import pytest

from support.bases import chosen
from support.differential.scenes import NATIVE, PICKLED
from support.differential.stage import MODELS, Part, Scene, played
from support.pipeline import build_spec
from xgbpatch.contract.http import Request, send
from xgbpatch.engine.types import Mount, Run
from xgbpatch.provenance import read

pytestmark = pytest.mark.parametrize("version", chosen(), scope="session")
READY_SECONDS = 180
FIXES = ("mme-errors", "pickle-refused", "serve-exit-code")
(MODEL,), (PICKLE,) = NATIVE.models, PICKLED.models
JSON = "application/json"


@pytest.fixture(scope="module")
def fixed(builder, spec_of, version):
    """The ID of the image with fixes alone; the image is removed with the module."""
    built = build_spec(builder, replace(spec_of(version), fixes=FIXES))
    yield built.image.id
    builder.engine.remove(built.reference)


def test_the_image_remembers_its_fixes(engine, fixed):
    image = engine.image(fixed)
    assert read(image.labels).fixes == FIXES
    assert image.environment["XGBPATCH_FIXES"] == ",".join(FIXES)


def invoke(address, model, body, content_type="text/csv", accept=JSON):
    headers = (("Content-Type", content_type), ("Accept", accept))
    return send(address, Request("POST", f"/models/{model}/invoke", headers, body))


ROW = b"1,2,3,4,5,6"
ASKED = {
    "empty body": ((b"",), 204, ""),
    "not csv": ((b"a,b",), 415, "Loading csv data failed"),
    "unknown type": ((ROW, "text/plain"), 415, "text/plain is not an accepted ContentType"),
    "too wide": ((b"1,2,3,4,5,6,7,8,9",), 400, "umber of columns does not match"),
    "unknown accept": ((ROW, "text/csv", "text/plain"), 406, "text/plain"),
    "too large": ((b"1," * 2**22,), 413, ""),
}


def test_errors_of_a_multi_model_endpoint_reach_the_client(engine, zoo, native, fixed):
    """The base says 503 of nearly all of them: tests/standin/test_multi_model_contract.py."""
    with played(engine, Scene("fixes", (MODEL,), multi_model=True), zoo, {"fixed": Part(fixed)}) as players:
        address = players["fixed"].address
        document = json.dumps({"model_name": PICKLE, "url": f"{MODELS}/{PICKLE}"}).encode()
        refused = send(address, Request("POST", "/models", (("Content-Type", JSON),), document))
        answers = {name: invoke(address, MODEL, *case) for name, (case, _, _) in ASKED.items()}
        answer, unknown = invoke(address, MODEL, ROW), invoke(address, PICKLE, ROW)
        log = players["fixed"].container.stdout() + players["fixed"].container.stderr()
    assert {name: answer.status for name, answer in answers.items()} == {name: case[1] for name, case in ASKED.items()}
    for name, (_, _, message) in ASKED.items():
        assert message in answers[name].text, name
    truth = native["base"].ask(Request("POST", "/invocations", (("Content-Type", "text/csv"), ("Accept", JSON)), ROW))
    assert answer.status == truth.status == 200
    assert answer.text == json.dumps([record["score"] for record in truth.json()["predictions"]])
    assert (refused.status, unknown.status) == (500, 404)
    assert log.count("is a pickle, and this image") == 1


HELD_UP = """
import os, runpy, subprocess, types
from sagemaker_xgboost_container.mms_patch import model_server

launched = []  # Python waits for a process whose object goes after its end; the base's goes before

def launch(command, **_):
    launched.append(subprocess.Popen(command))
    os.waitid(os.P_PID, launched[0].pid, os.WEXITED | os.WNOWAIT)

model_server.subprocess = types.SimpleNamespace(run=launch, Popen=launch, check_call=subprocess.check_call)
model_server._add_sigterm_handler = lambda process: print("its server is", *process.cmdline(), flush=True)
runpy.run_path("/opt/xgbpatch/bin/serve", run_name="__main__")
"""


def test_a_multi_model_start_that_is_held_up_finds_its_server(engine, fixed):
    """As on a busy machine: the launcher has ended, and nobody has waited for it, when the search begins.

    That the base's search fails there is in tests/standin/test_known_bugs_of_serving.py.
    """
    environment = {"SAGEMAKER_MULTI_MODEL": "true", "XGBPATCH_FIXES": "mme-start"}
    with engine.container(Run(fixed, ("python3", "-c", HELD_UP), environment=environment)) as container:
        deadline = time.monotonic() + READY_SECONDS
        while container.running and time.monotonic() < deadline and "its server is" not in container.stdout():
            time.sleep(0.2)
        assert "com.amazonaws.ml.mms.ModelServer" in container.stdout(), container.stderr()


def test_serve_that_cannot_start_ends_with_its_reason(engine, zoo, fixed):
    """The base ends with 0: see test_load, where its model is garbage."""
    mounts = (Mount(zoo.folder / PICKLE, "/opt/ml/model", read_only=True),)
    run = Run(fixed, ("serve",), environment={"SAGEMAKER_MODEL_SERVER_WORKERS": "1"}, mounts=mounts)
    with engine.container(run) as container:
        code, log = container.wait(READY_SECONDS), container.stdout() + container.stderr()
    assert code == 3
    assert "gunicorn could not boot a worker" in log
    assert "is a pickle" in log
