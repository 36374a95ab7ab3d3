"""The stand-in bases held to the facts of the official images: what they hold, what they say, what runs in them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from xgbpatch.engine.types import LocalImage, Run
from xgbpatch.progress import Silent
from xgbpatch.standin.build import build_standin

ABALONE = Path(__file__).parents[2] / "xgbpatch" / "data" / "abalone"
ROW = "2,0.74,0.6,0.195,1.974,0.598,0.4085,0.71"

# Written down here once more, from the facts and not from the table that the images are made of.
SITE = {"1.5-1": "/miniconda3/lib/python3.8/site-packages", "3.2-0": "/opt/venv/lib64/python3.12/site-packages"}
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
COMMON_ENVIRONMENT = {
    "SM_INPUT": "/opt/ml/input",
    "SM_INPUT_TRAINING_CONFIG_FILE": "/opt/ml/input/config/hyperparameters.json",
    "SM_INPUT_DATA_CONFIG_FILE": "/opt/ml/input/config/inputdataconfig.json",
    "SM_CHECKPOINT_CONFIG_FILE": "/opt/ml/input/config/checkpointconfig.json",
    "SM_MODEL_DIR": "/opt/ml/model",
    "SAGEMAKER_TRAINING_MODULE": "sagemaker_xgboost_container.training:main",
    "SAGEMAKER_SERVING_MODULE": "sagemaker_xgboost_container.serving:main",
    "XGBOOST_MMS_CONFIG": "/home/model-server/config.properties",
    "TEMP": "/home/model-server/tmp",
    "PYTHONDONTWRITEBYTECODE": "1",
}
OWN_ENVIRONMENT = {
    "1.5-1": {
        "PATH": f"/miniconda3/bin:{SYSTEM_PATH}",
        "PYTHONPATH": f":{SITE['1.5-1']}/xgboost/dmlc-core/tracker",
        "NCCL_SOCKET_IFNAME": None,
        "LD_LIBRARY_PATH": None,
    },
    "3.2-0": {
        "PATH": f"/opt/venv/bin:{SYSTEM_PATH}",
        "PYTHONPATH": None,
        "NCCL_SOCKET_IFNAME": "eth",
        "LD_LIBRARY_PATH": f"{SITE['3.2-0']}/nvidia/nccl/lib:/usr/local/nvidia/lib:/usr/local/nvidia/lib64",
    },
}
PINS = {
    "1.5-1": {
        "xgboost": "1.5.2", "numpy": "1.24.4", "scipy": "1.8.0", "pandas": "1.5.3", "scikit-learn": "0.24.1",
        "flask": "1.1.1", "werkzeug": "0.15.6", "gunicorn": "19.10.0", "gevent": "23.9.1", "protobuf": "3.20.1",
        "sagemaker-containers": "2.8.6.post2", "sagemaker-inference": "1.5.5", "multi-model-server": "1.1.2",
        "sagemaker-xgboost-container": "2.0",
    },
    "3.2-0": {
        "xgboost": "3.2.0", "numpy": "2.1.0", "scipy": "1.15.0", "pandas": "2.2.3", "scikit-learn": "1.8.0",
        "flask": "3.1.3", "werkzeug": "3.1.8", "gunicorn": "25.3.0", "gevent": "26.4.0", "protobuf": "3.20.3",
        "sagemaker-containers": "2.8.6.post2", "sagemaker-inference": "1.5.5", "multi-model-server": "1.1.2",
        "sagemaker-xgboost-container": "2.0",
    },
}  # fmt: skip
SEEN = """
import importlib, importlib.metadata, json, os, shutil, sys
names = "ssl sqlite3 ctypes bz2 lzma zlib readline uuid hashlib multiprocessing".split()
names += "xgboost sklearn pandas scipy gevent sagemaker_containers.beta.framework sagemaker_inference mms".split()
for name in names:
    importlib.import_module(name)
def real(path):
    return os.path.realpath(path)
print(json.dumps({
    "python": "%d.%d" % sys.version_info[:2],
    "xgboost": real(sys.modules["xgboost"].__file__),
    "pins": {d.metadata["Name"].lower().replace("_", "-"): d.version for d in importlib.metadata.distributions()},
    "commands": {name: shutil.which(name) for name in ("python", "python3", "pip", "train", "serve", "nginx", "java")},
    "serve": open(shutil.which("serve")).read(),
    "train": open(shutil.which("train")).read(),
    "files": [path for path in FILES if os.path.exists(path)],
    "cwd": os.getcwd(), "uid": os.getuid(), "on_path": real(os.getcwd()) in map(real, sys.path[1:]),
    "site": real(SITE),
}))
"""
FILES = ["/home/model-server/config.properties.tmp", "/tmp/plugins/endpoints-1.0.jar", "/opt/ml/models"]


@pytest.fixture(scope="module", params=["1.5-1", "3.2-0"])
def name(request) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def image(engine, name) -> LocalImage:
    return build_standin(engine, name, Silent())


@pytest.fixture(scope="module")
def facts(engine, image, name) -> dict:
    """What one run of the image's own Python tells."""
    result = engine.run(
        Run(image.id, ("python", "-W", "ignore", "-c", f"FILES, SITE = {FILES}, {SITE[name]!r}\n{SEEN}")), timeout=120
    )
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_environment_is_the_official_one(image, name):
    expected = {**COMMON_ENVIRONMENT, **OWN_ENVIRONMENT[name]}
    assert {key: image.environment.get(key) for key in expected} == expected


def test_labels_are_the_official_ones_and_say_stand_in(image, name):
    assert image.labels["com.amazonaws.sagemaker.capabilities.multi-models"] == "true"
    assert image.labels["com.amazonaws.sagemaker.capabilities.accept-bind-to-port"] == "true"
    assert (image.labels.get("maintainer") == "Amazon AI") == (name == "3.2-0")
    assert (image.labels.get("dlc_major_version") == "1") == (name == "3.2-0")
    assert image.labels["io.xgbpatch.standin"] == name
    assert "not made by AWS" in image.labels["io.xgbpatch.standin.differences"]


def test_starts_by_command_alone_as_root_in_the_root_folder(engine, image, facts):
    assert engine.run(Run(image.id, ("true",))).exit_code == 0  # an entry point would have taken it as an argument
    assert (facts["cwd"], facts["uid"]) == ("/", 0)


def test_python_and_site_packages_lie_where_the_official_ones_do(facts, name):
    assert facts["python"] == {"1.5-1": "3.8", "3.2-0": "3.12"}[name]
    assert facts["xgboost"] == f"{facts['site']}/xgboost/__init__.py"


def test_pins_are_the_official_ones(facts, name):
    assert {key: facts["pins"].get(key) for key in PINS[name]} == PINS[name]
    assert "shap" not in facts["pins"]
    assert "typing" not in facts["pins"]


def test_working_folder_is_importable_in_the_old_base_only(facts, name):
    """The leading colon of PYTHONPATH; `-c` itself puts the empty string first, which is left out."""
    assert facts["on_path"] == (name == "1.5-1")


def test_commands_resolve_to_the_owners_that_the_official_image_gives_them(facts, name):
    prefix = {"1.5-1": "/miniconda3", "3.2-0": "/opt/venv"}[name]
    assert {facts["commands"][key] for key in ("python", "python3", "train", "serve")} == {
        f"{prefix}/bin/{key}" for key in ("python", "python3", "train", "serve")
    }
    assert "from sagemaker_xgboost_container.serving import serving_entrypoint" in facts["serve"]
    assert "from sagemaker_containers.cli.train import main" in facts["train"]
    assert facts["commands"]["nginx"]
    assert facts["commands"]["java"]


def test_files_of_multi_model_server_are_there(facts):
    assert facts["files"] == FILES


def test_pip_check_names_only_what_the_official_image_lacks_too(engine, image):
    complaints = engine.run(Run(image.id, ("python", "-m", "pip", "check"))).stdout.splitlines()
    excused = ("requires typing", "requires nvidia-nccl-cu12", "flask==1.1.1")
    assert [line for line in complaints if not any(text in line for text in excused)] == []


def test_same_inputs_build_nothing(engine, image, name):
    begun = time.monotonic()
    assert build_standin(engine, name, Silent()).id == image.id
    assert time.monotonic() - begun < 10
