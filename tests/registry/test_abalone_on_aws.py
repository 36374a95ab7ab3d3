"""examples/abalone/on_aws.py: what the `sagemaker` SDK asks of AWS, and that nothing which costs money is left.

The SDK brings 120 packages, so it has an environment of its own, kept in the user's cache.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from xgbpatch.patch import indexes
from xgbpatch.standin.parts import cache_folder
from xgbpatch.util import locked_path

ROOT = Path(__file__).resolve().parents[2]
SDK = (
    "sagemaker-core==2.27.0",
    "sagemaker-train==1.27.0",
    "moto==5.2.5",
)  # of sagemaker 3.27.0, what on_aws.py imports
IMAGE = f"123456789012.dkr.ecr.us-west-2.amazonaws.com/xgbpatch/sagemaker-xgboost@sha256:{'a' * 64}"
ANSWER = "10.5,9.5,0.25,0.75\n9,9.5,-0.25,-0.25\n"


@pytest.fixture(scope="module")
def python():
    """A Python with the SDK."""
    folder = cache_folder().with_name("sagemaker-sdk") / "-".join(
        (f"{sys.version_info[0]}.{sys.version_info[1]}", *SDK)
    )
    folder.mkdir(parents=True, exist_ok=True)
    with locked_path(folder):
        if not (folder / "complete").exists():
            uv = [sys.executable, "-m", "uv", "--quiet"]
            environment = {**os.environ, **indexes.variables()}
            subprocess.run(
                [*uv, "venv", "--clear", "--python", sys.executable, folder / "venv"], check=True, env=environment
            )
            subprocess.run(
                [*uv, "pip", "install", "--python", folder / "venv/bin/python", *SDK], check=True, env=environment
            )
            (folder / "complete").touch()
    return folder / "venv/bin/python"


@pytest.fixture(scope="module")
def run(python, tmp_path_factory):
    """What the steps on SageMaker asked, got and left."""
    folder = tmp_path_factory.mktemp("walkthrough")
    for name, text in (("train.csv", "9,1,2\n"), ("validation.csv", "8,1,2\n"), ("test.csv", "1,2\n3,4\n")):
        (folder / name).write_text(text)
    (folder / "answer").write_text(ANSWER)
    with tarfile.open(folder / "model.tar.gz", "w:gz") as packed:
        packed.add(folder / "answer", "xgboost-model")
    completed = subprocess.run(
        [python, ROOT / "tests/support/on_sagemaker.py", folder, IMAGE], capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), "AWS_REGION": "us-west-2",
             "AWS_DEFAULT_REGION": "us-west-2", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
             "SAGEMAKER_ROLE": "arn:aws:iam::123456789012:role/walkthrough"},
    )  # fmt: skip
    assert completed.returncode == 0, completed.stderr
    announced, _, document = completed.stdout.rpartition("\n\n")
    return {"announced": announced, **json.loads(document)}


def asked(run, operation):
    return [parameters for name, parameters in run["calls"] if name == operation]


def test_the_steps_are_announced_and_give_their_answers(run):
    for word in ("a training job", "a batch transform job", "an endpoint", "ml.m5.large", "s3://", "us-west-2"):
        assert word in run["announced"]
    assert run["answers"] == {"model": True, "batch": ANSWER, "endpoint": ANSWER, "multi-model": ANSWER}


def test_training_has_the_image_and_its_metrics_and_is_limited(run):
    (job,) = asked(run, "CreateTrainingJob")
    algorithm = job["AlgorithmSpecification"]
    assert algorithm["TrainingImage"] == IMAGE
    assert [each["Name"] for each in algorithm["MetricDefinitions"]] == ["validation:rmse"]
    assert {each["ChannelName"]: each["ContentType"] for each in job["InputDataConfig"]} == {
        "train": "text/csv", "validation": "text/csv",
    }  # fmt: skip
    assert job["StoppingCondition"]["MaxRuntimeInSeconds"] <= 900


def test_every_way_of_serving_has_the_variable_and_the_batch_goes_by_lines(run):
    containers = [each["PrimaryContainer"] for each in asked(run, "CreateModel")]
    assert [each["Environment"] for each in containers] == [{"XGBPATCH_SHAP_LAYOUT": "append"}] * 3
    assert [each.get("Mode") for each in containers] == [None, None, "MultiModel"]
    assert containers[2]["ModelDataUrl"].endswith("/")
    (job,) = asked(run, "CreateTransformJob")
    assert (job["BatchStrategy"], job["TransformInput"]["SplitType"], job["TransformOutput"]["AssembleWith"]) == (
        "MultiRecord", "Line", "Line",
    )  # fmt: skip
    assert [each.get("TargetModel") for each in asked(run, "InvokeEndpoint")] == [None, "model.tar.gz"]


def test_nothing_that_costs_money_is_left_also_where_a_call_fails(run):
    calls = "CreateEndpointConfig", "CreateEndpoint", "DescribeEndpoint", "InvokeEndpoint"
    assert run["left"] == {call: [] for call in ("", *calls)}
