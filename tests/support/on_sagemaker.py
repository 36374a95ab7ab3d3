"""Runs the walkthrough's steps on SageMaker against moto, in an environment with the SDK, and prints what was asked.

usage: on_sagemaker.py FOLDER IMAGE    (FOLDER holds train.csv, validation.csv, test.csv, model.tar.gz, answer)

Every request goes through botocore, which holds its parameters to the service's model. What moto does not do stands
here: it runs no jobs, so their results are put where SageMaker would put them, and it simulates no policies. stdout
gets one JSON document: the calls, the answers, and what is left, also where a call fails.
"""

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import botocore.client
from moto import mock_aws
from moto.sagemakerruntime.models import sagemakerruntime_backends

WATCHED = ("sagemaker", "sagemaker-runtime")
REGION = "us-west-2"
TRUST = {
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}]
}

folder, image = Path(sys.argv[1]), sys.argv[2]
failing: list[str] = []
calls: list[tuple[str, dict[str, Any]]] = []
really = botocore.client.BaseClient._make_api_call


def put(address: str, name: str) -> None:
    """A file of the folder as an object."""
    bucket, _, key = address[len("s3://") :].partition("/")
    boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=(folder / name).read_bytes())


def call(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
    """Note a call, and do what moto does not."""
    model = client.meta.service_model
    if operation == "SimulatePrincipalPolicy":
        names = parameters["ActionNames"]
        return {"EvaluationResults": [{"EvalActionName": name, "EvalDecision": "allowed"} for name in names]}
    if model.service_name in WATCHED and not operation.startswith(("Describe", "List")):
        calls.append((operation, parameters))
    if operation in failing:
        raise RuntimeError(f"{operation} fails, as it was told to")
    answer = really(client, operation, parameters)
    if operation.startswith("Describe"):
        answer = {name: value for name, value in answer.items() if value != {}}  # SageMaker leaves them out
    if operation == "CreateTrainingJob":
        job = really(client, "DescribeTrainingJob", {"TrainingJobName": parameters["TrainingJobName"]})
        put(job["ModelArtifacts"]["S3ModelArtifacts"], "model.tar.gz")
    if operation == "CreateTransformJob":
        source = parameters["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
        put(f"{parameters['TransformOutput']['S3OutputPath']}/{source.rpartition('/')[2]}.out", "answer")
    return answer


with mock_aws():
    botocore.client.BaseClient._make_api_call = call
    role = boto3.client("iam").create_role(RoleName="walkthrough", AssumeRolePolicyDocument=json.dumps(TRUST))
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "abalone"))
    from on_aws import OnAws

    explained = {"XGBPATCH_SHAP_LAYOUT": "append"}
    client = boto3.client("sagemaker")

    def left() -> list[Any]:
        """What costs money, or is in the way of a next run."""
        lists = client.list_endpoints(), client.list_endpoint_configs(), client.list_models()
        return [*lists[0]["Endpoints"], *lists[1]["EndpointConfigs"], *lists[2]["Models"]]

    output = folder / "output"
    output.mkdir(exist_ok=True)
    sagemaker = OnAws(image, output)
    hyperparameters = {"num_round": "5", "objective": "reg:squarederror"}
    model = sagemaker.train(hyperparameters, folder / "train.csv", folder / "validation.csv")
    transformed = sagemaker.batch_transform(model, folder / "test.csv", explained)
    answers = {"model": model.read_bytes() == (folder / "model.tar.gz").read_bytes(), "batch": transformed.read_text()}
    answer = ((folder / "answer").read_text(), "text/csv", "all", "")
    sagemakerruntime_backends["123456789012"][REGION].results_queue += [answer, answer]
    rows = (folder / "test.csv").read_bytes()
    with sagemaker.endpoint(model, explained) as ask:
        answers["endpoint"] = ask(rows)
    with sagemaker.multi_model_endpoint(model, explained) as ask:
        answers["multi-model"] = ask(rows)
    operations, remains = list(calls), {"": left()}
    for failing[:] in (["CreateEndpointConfig"], ["CreateEndpoint"], ["DescribeEndpoint"], ["InvokeEndpoint"]):
        with suppress(RuntimeError), sagemaker.endpoint(model, explained) as ask:
            ask(rows)
            raise AssertionError(f"{failing} did not fail")
        remains[failing[0]] = left()
    print()
    print(json.dumps({"calls": operations, "answers": answers, "left": remains}, default=str))
