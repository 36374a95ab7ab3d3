"""Fixes in the real image: what the clients of its servers and the starter of its `serve` see, beside the base."""

import base64
import json
import time
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from support.pipeline import build_spec
from xgbpatch.contract.http import Request, send
from xgbpatch.engine.types import Mount, Run
from xgbpatch.inspection.container import run_python
from xgbpatch.provenance import read

pytestmark = pytest.mark.timeout(600)
READY_SECONDS = 180
FIXES = ("mme-errors", "pickle-refused", "serve-exit-code")
TRAIN = """
import base64, os, pickle, tempfile, numpy, xgboost
x = numpy.arange(40.0).reshape(10, 4)
booster = xgboost.train({"max_depth": 2, "nthread": 1}, xgboost.DMatrix(x, label=x[:, 0]), 2)
path = os.path.join(tempfile.mkdtemp(), "model")
booster.save_model(path)
print("native", base64.b64encode(open(path, "rb").read()).decode())
print("pickled", base64.b64encode(pickle.dumps(booster)).decode())
"""


@pytest.fixture(scope="module")
def images(builder, base_of, spec_of):
    """version → (the base's name, the ID of the image with fixes alone); the images are removed with the module."""
    made = {}

    def both(version):
        if version not in made:
            made[version] = build_spec(builder, replace(spec_of(version), fixes=FIXES))
        return base_of(version), made[version].image.id

    yield both
    for built in made.values():
        builder.engine.remove(built.reference)


@pytest.fixture(scope="module")
def models(builder, base_of, tmp_path_factory):
    """version → a folder with the folders `native`, `pickled` (models of four columns) and `empty`."""
    made = {}

    def folder(version):
        if version not in made:
            made[version] = tmp_path_factory.mktemp("models")
            printed = run_python(builder.engine, base_of(version), TRAIN).split("\n")
            for line in (line for line in printed if " " in line):
                kind, content = line.split(" ")[-2:]
                (made[version] / kind).mkdir()
                (made[version] / kind / "xgboost-model").write_bytes(base64.b64decode(content))
            (made[version] / "empty").mkdir()
        return made[version]

    return folder


def test_the_image_remembers_its_fixes(builder, images, version):
    image = builder.engine.image(images(version)[1])
    assert read(image.labels).fixes == FIXES
    assert image.environment["XGBPATCH_FIXES"] == ",".join(FIXES)


@contextmanager
def model_server(engine, image, models, *names):
    """The address of a model server on which the models of these names are loaded."""
    mounts = (Mount(models, "/opt/ml/models", read_only=True),)
    run = Run(image, ("serve",), environment={"SAGEMAKER_MULTI_MODEL": "true"}, mounts=mounts, ports=(8080,))
    with engine.container(run) as container:
        address = container.address(8080)
        wait(address)
        for name in names:
            load = json.dumps({"model_name": name, "url": f"/opt/ml/models/{name}"}).encode()
            send(address, Request("POST", "/models", (("Content-Type", "application/json"),), load))
        yield address


def wait(address):
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(f"http://{address}/ping", timeout=5):
            return  # before that: refused, reset, or accepted for a server that is not there yet
        time.sleep(0.2)
    raise AssertionError(f"the model server is not ready after {READY_SECONDS} s")


def invoke(address, model, body, content_type="text/csv", accept="application/json"):
    headers = (("Content-Type", content_type), ("Accept", accept))
    return send(address, Request("POST", f"/models/{model}/invoke", headers, body))


ROW = b"1,2,3,4"
ASKED = {
    "empty body": ((b"",), 204, ""),
    "not csv": ((b"a,b",), 415, "Loading csv data failed"),
    "unknown type": ((ROW, "text/plain"), 415, "text/plain is not an accepted ContentType"),
    "too wide": ((b"1,2,3,4,5,6,7",), 400, "umber of columns does not match"),
    "unknown accept": ((ROW, "text/csv", "text/plain"), 406, "text/plain"),
    "too large": ((b"1," * 2**22,), 413, ""),
}


def test_errors_of_a_multi_model_endpoint_reach_the_client(builder, images, models, version):
    base, fixed = images(version)
    with model_server(builder.engine, base, models(version), "native") as address:
        of_base = {name: invoke(address, "native", *asked).status for name, (asked, _, _) in ASKED.items()}
        truth = invoke(address, "native", ROW)
    with model_server(builder.engine, fixed, models(version), "native", "pickled") as address:
        found = {name: invoke(address, "native", *asked) for name, (asked, _, _) in ASKED.items()}
        answer, refused = invoke(address, "native", ROW), invoke(address, "pickled", ROW)
    assert of_base == {**dict.fromkeys(ASKED, 503), "too large": 413}
    assert {name: answer.status for name, answer in found.items()} == {name: asked[1] for name, asked in ASKED.items()}
    for name, (_, _, message) in ASKED.items():
        assert message in found[name].text, name
    assert (answer.status, answer.body) == (truth.status, truth.body)
    assert truth.status == 200
    assert (refused.status, "is a pickle" in refused.text) == (500, True)


def test_serve_that_cannot_start_ends_with_its_reason(builder, images, models, version):
    base, fixed = images(version)
    empty, pickled = models(version) / "empty", models(version) / "pickled"
    with ended(builder.engine, base, empty) as first, ended(builder.engine, fixed, pickled) as second:
        of_base, of_fixed = first(), second()
    assert "Worker failed to boot" in of_base[1]
    assert of_base[0] == 0
    assert of_fixed[0] == 3
    assert "gunicorn could not boot a worker" in of_fixed[1]
    assert "is a pickle" in of_fixed[1]


@contextmanager
def ended(engine, image, model):
    """A started `serve`, and the function that waits for its end: (exit code, log)."""
    mounts = (Mount(model, "/opt/ml/model", read_only=True),)
    run = Run(image, ("serve",), environment={"SAGEMAKER_MODEL_SERVER_WORKERS": "1"}, mounts=mounts)
    with engine.container(run) as container:
        yield lambda: (container.wait(READY_SECONDS), container.stdout() + container.stderr())
