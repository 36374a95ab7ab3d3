"""SageMaker itself: the functions of `here.py` in your account, with the `sagemaker` SDK, version 3.

    pip install 'sagemaker>=3'
    export SAGEMAKER_ROLE=arn:aws:iam::123456789012:role/…   # of jobs and endpoints; it reads the image and S3
    export SAGEMAKER_INSTANCE_TYPE=ml.m5.large               # the default

Files go to the SDK's default bucket. Each function deletes the models, endpoints and endpoint configurations that it
made, also where it fails; the records of jobs and the files on S3 stay.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from botocore.exceptions import ClientError
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.resources import Endpoint, EndpointConfig, Model
from sagemaker.core.shapes import ContainerDefinition, MultiModelConfig, ProductionVariant
from sagemaker.core.transformer import Transformer
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, MetricDefinition, StoppingCondition

METRICS = ("rmse",)  # that SageMaker reads from the log of the training job
MOST_SECONDS = 900  # of a training job
CSV = {"content_type": "text/csv", "accept": "text/csv"}

Ask = Callable[[bytes], str]  # rows as CSV → the answer


class OnAws:
    """Runs `image`, a URI in ECR that `xgbpatch push` printed. Says what it will create; files go to `folder`."""

    def __init__(self, image: str, folder: Path) -> None:
        self.image, self.folder = image, folder
        self.session = Session()
        self.client = {"session": self.session.boto_session, "region": self.session.boto_region_name}
        self.role = os.environ["SAGEMAKER_ROLE"]
        self.instance_type = os.environ.get("SAGEMAKER_INSTANCE_TYPE", "ml.m5.large")
        self.run = f"abalone-{time.strftime('%Y%m%d-%H%M%S')}"
        self.place = f"s3://{self.session.default_bucket()}/{self.run}"
        print(
            f"This creates in {self.session.boto_region_name}, one after the other, each on one {self.instance_type}:\n"
            f"  a training job, a batch transform job, an endpoint, a multi-model endpoint: {self.run}…\n"
            f"  files below {self.place}\n"
            "That is about half an hour of one instance. Endpoints and models are deleted after use; should this\n"
            f"program be killed, look for {self.run} under SageMaker, Inference, Endpoints.",
            flush=True,
        )

    def train(self, hyperparameters: Mapping[str, str], train: Path, validation: Path) -> Path:
        """A training job on two CSV files (label first, no header); returns model.tar.gz, downloaded."""
        channels = [
            InputData(channel_name=name, data_source=str(source), content_type="text/csv")
            for name, source in (("train", train), ("validation", validation))
        ]
        trainer = ModelTrainer(
            sagemaker_session=self.session, role=self.role, training_image=self.image, base_job_name=self.run,
            hyperparameters=dict(hyperparameters), input_data_config=channels,
            compute=Compute(instance_type=self.instance_type, instance_count=1, volume_size_in_gb=10),
            stopping_condition=StoppingCondition(max_runtime_in_seconds=MOST_SECONDS),
        ).with_metric_definitions(metrics())  # fmt: skip
        trainer.train()
        stored = trainer._latest_training_job.refresh().model_artifacts.s3_model_artifacts
        archive = self.folder / "model.tar.gz"
        self._s3("download_file", stored, str(archive))
        return archive

    def batch_transform(self, model: Path, rows: Path, environment: Mapping[str, str]) -> Path:
        """A batch transform job on a CSV file without a header, split by lines; returns the file of its answers."""
        self._s3("upload_file", f"{self.place}/input/{rows.name}", str(rows))
        with self._model("batch", model, environment) as name:
            transformer = Transformer(
                model_name=name, instance_count=1, instance_type=self.instance_type, strategy="MultiRecord",
                assemble_with="Line", accept="text/csv", output_path=f"{self.place}/transform",
                base_transform_job_name=self.run, sagemaker_session=self.session,
            )  # fmt: skip
            transformer.transform(f"{self.place}/input/{rows.name}", content_type="text/csv", split_type="Line")
        output = self.folder / "transform" / f"{rows.name}.out"
        output.parent.mkdir(exist_ok=True)
        self._s3("download_file", f"{self.place}/transform/{output.name}", str(output))
        return output

    @contextmanager
    def endpoint(self, model: Path, environment: Mapping[str, str]) -> Iterator[Ask]:
        """A real-time endpoint of one model; deleted with the block."""
        with self._model("single", model, environment) as name, self._endpoint(name) as endpoint:
            yield lambda body: text(endpoint.invoke(body, **CSV))

    @contextmanager
    def multi_model_endpoint(self, model: Path, environment: Mapping[str, str]) -> Iterator[Ask]:
        """A multi-model endpoint, asked for `model`; deleted with the block."""
        with self._model("multi", model, environment, multi=True) as name, self._endpoint(name) as endpoint:
            yield lambda body: text(endpoint.invoke(body, target_model=model.name, **CSV))

    @contextmanager
    def _model(self, kind: str, model: Path, environment: Mapping[str, str], multi: bool = False) -> Iterator[str]:
        """The name of a SageMaker model; of a multi-model one the data is the folder that `model` lies in."""
        folder = f"{self.place}/models"
        self._s3("upload_file", f"{folder}/{model.name}", str(model))
        mode = {"mode": "MultiModel", "multi_model_config": MultiModelConfig(model_cache_setting="Enabled")}
        container = ContainerDefinition(
            image=self.image, environment=dict(environment),
            model_data_url=f"{folder}/" if multi else f"{folder}/{model.name}", **(mode if multi else {}),
        )  # fmt: skip
        name = f"{self.run}-{kind}"
        with self._deleted_after("delete_model", ModelName=name):
            Model.create(name, primary_container=container, execution_role_arn=self.role, **self.client)
            yield name

    @contextmanager
    def _endpoint(self, name: str) -> Iterator[Endpoint]:
        """An endpoint in service, of the model of that name."""
        variant = ProductionVariant(
            variant_name="all", model_name=name, initial_instance_count=1, instance_type=self.instance_type
        )
        with self._deleted_after("delete_endpoint_config", EndpointConfigName=name):
            EndpointConfig.create(name, [variant], **self.client)
            with self._deleted_after("delete_endpoint", EndpointName=name):
                endpoint = Endpoint.create(name, name, **self.client)
                endpoint.wait_for_status("InService")
                yield endpoint

    @contextmanager
    def _deleted_after(self, call: str, **name: str) -> Iterator[None]:
        """Deletes by name, however the block ends: `create` may fail behind the creation, too."""
        try:
            yield
        finally:
            try:
                getattr(self.session.sagemaker_client, call)(**name)
            except ClientError as error:  # it was never made, or it costs money on: a person has to read this
                print(f"{call} {name}: {error}", file=sys.stderr)

    def _s3(self, call: str, address: str, path: str) -> None:
        """Upload or download a file."""
        bucket, _, key = address.removeprefix("s3://").partition("/")
        client = self.session.boto_session.client("s3")
        if call == "upload_file":
            client.upload_file(path, bucket, key)
        else:
            client.download_file(bucket, key, path)


def metrics() -> list[MetricDefinition]:
    """What `xgbpatch metrics` prints: by which expressions SageMaker finds the metrics in the log."""
    command = [sys.executable, "-m", "xgbpatch", "metrics", *METRICS, "--json"]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [
        MetricDefinition(name=each["Name"], regex=each["Regex"]) for each in json.loads(printed)["metric_definitions"]
    ]


def text(answer: object) -> str:
    """The body of an answer of an endpoint."""
    body = answer.body  # type: ignore[attr-defined]
    return (body.read() if hasattr(body, "read") else body).decode("utf-8")
