"""Rows explained on SageMaker: a batch transform job with a pushed image, over several instances."""

from __future__ import annotations

import hashlib
import json
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from xgbpatch.aws.s3 import S3, S3Location, S3Object
from xgbpatch.aws.sagemaker import TransformJob, TransformJobs
from xgbpatch.errors import AwsError, ConfigurationError
from xgbpatch.explanation.places import objects_of, require_apart
from xgbpatch.reference import ImageReference
from xgbpatch.report import tables

PAYLOAD_MEGABYTES = 1  # of a request: xgboost's own SHAP values of so many rows come within a minute, too
_HEAD = 64 << 10  # bytes that show what a file is
_PACKED = b"\x1f\x8b"
_POLL_SECONDS = 20.0
_TYPES = {"csv": "text/csv", "libsvm": "text/libsvm"}


@dataclass(frozen=True)
class Transform:
    """What is asked for. `image` is in ECR, by digest; `model` is a model.tar.gz; `source` an object or a folder of
    CSV or libsvm; `label_first`: its first column is no feature."""

    image: ImageReference
    model: S3Location
    source: S3Location
    output: S3Location
    role: str
    instance_type: str
    instances: int
    label_first: bool = False


@dataclass(frozen=True)
class PreparedJob:
    """A job that may be made. `name` comes of its content: the same command means the same job."""

    name: str
    transform: Transform
    inputs: tuple[S3Object, ...]
    content_type: str
    packed: bool

    def model_request(self, name: str) -> dict[str, Any]:
        """Of CreateModel."""
        container = {
            "Image": str(self.transform.image.pinned), "ModelDataUrl": str(self.transform.model),
            "Environment": {"XGBPATCH_SHAP_LAYOUT": "append"},
        }  # fmt: skip
        return {"ModelName": name, "ExecutionRoleArn": self.transform.role, "PrimaryContainer": container}

    def job_request(self, name: str) -> dict[str, Any]:
        """Of CreateTransformJob."""
        transform = self.transform
        source = {"S3DataType": "S3Prefix", "S3Uri": str(transform.source)}
        request: dict[str, Any] = {
            "TransformJobName": name, "ModelName": name,
            "MaxPayloadInMB": PAYLOAD_MEGABYTES, "BatchStrategy": "MultiRecord",
            "TransformInput": {
                "DataSource": {"S3DataSource": source}, "ContentType": self.content_type, "SplitType": "Line",
                "CompressionType": "Gzip" if self.packed else "None",
            },
            "TransformOutput": {"S3OutputPath": str(transform.output), "Accept": "text/csv", "AssembleWith": "Line"},
            "TransformResources": {"InstanceType": transform.instance_type, "InstanceCount": transform.instances},
        }  # fmt: skip
        if transform.label_first and self.content_type == _TYPES["csv"]:
            request["DataProcessing"] = {"InputFilter": "$[1:]"}
        return request


class JobWatcher(Protocol):
    """Hears in sentences what is made and what became of it, and how many of the input files are done."""

    def line(self, text: str) -> None: ...

    def files(self, done: int, total: int) -> None: ...


def prepare(transform: Transform, s3: S3) -> PreparedJob:
    """Look at model and inputs, and make nothing.

    Raises `ConfigurationError` for what a batch transform job would read otherwise than this machine does, or not at
    all: Parquet, JSON, a header, files of several kinds, a name that others begin with.
    """
    if not transform.model.key.endswith(".tar.gz"):
        raise ConfigurationError(f'"{transform.model}" is no model.tar.gz, which SageMaker asks for',
                                 "Pack it: tar czf model.tar.gz xgboost-model")  # fmt: skip
    models = [item for item in s3.objects(transform.model) if item.location == transform.model]
    if not models:
        raise ConfigurationError(f'there is no object "{transform.model}"')
    inputs = tuple(objects_of(transform.source, s3))
    matched = [item.location for item in s3.objects(transform.source)]
    if others := sorted({str(place) for place in matched} - {str(item.location) for item in inputs}):
        raise ConfigurationError(
            f'SageMaker would also read "{others[0]}", which begins with "{transform.source}"',
            "Put what is to be explained in a folder of its own, and name that with a slash at its end.",
        )
    require_apart([transform.source], transform.output)
    kinds = {_kind(s3, item) for item in inputs}
    if len(kinds) > 1:
        raise ConfigurationError(f'"{transform.source}" holds files of several kinds, and a job reads one',
                                 "Explain them by two commands.")  # fmt: skip
    ((kind, packed),) = kinds
    content = {**asdict(transform), "model etag": models[0].etag, "etags": [item.etag for item in inputs]}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
    return PreparedJob(f"xgbpatch-explain-{digest[:16]}", transform, inputs, _TYPES[kind], packed)


def _kind(s3: S3, item: S3Object) -> tuple[str, bool]:
    """`csv` or `libsvm`, and whether it is packed, by the beginning of the object."""
    head = s3.read(item.location, _HEAD) or b""
    packed = head.startswith(_PACKED)
    if packed:
        try:
            head = zlib.decompressobj(wbits=31).decompress(head)
        except zlib.error as error:
            raise ConfigurationError(f'"{item.location}" is no whole gzip file: {error}') from error
    line = next((line for line in head.splitlines() if line.strip()), b"")
    kind = tables.kind_of_line(head[:4], line)
    if kind not in _TYPES or line.lstrip().startswith(b"["):
        raise ConfigurationError(f'"{item.location}" is neither CSV nor libsvm, which a batch transform job splits',
                                 "Explain it on this machine, or write it as CSV.")  # fmt: skip
    if kind == "csv" and tables.names_in(line, str(item.location)):
        raise ConfigurationError(f'"{item.location}" begins with a header, which SageMaker would explain as a row',
                                 "Leave it out.")  # fmt: skip
    return kind, packed


def run(job: PreparedJob, jobs: TransformJobs, s3: S3, watcher: JobWatcher, *, wait: bool = True,
        sleep: Callable[[float], None] = time.sleep) -> TransformJob:  # fmt: skip
    """Start the job, or find it where the same command has started it, and wait for its end.

    A job that has failed or was stopped is made again, under a name of its own. When it has ended, its model is
    deleted, and every input has its output. Raises `AwsError` where the job fails or leaves an output out, and
    `ConfigurationError` where something else lies at the output.
    """
    known = _going_on(job, jobs, s3, watcher)
    try:
        return _ended(job, known, jobs, s3, watcher, sleep) if wait else known
    except KeyboardInterrupt as interrupt:
        notes = [
            f'the job "{known.name}" goes on; the same command waits for it again',
            f"to stop it: aws sagemaker stop-transform-job --region {jobs.region} --transform-job-name {known.name}",
        ]
        # `BaseException.add_note`, which Python 3.10 lacks
        interrupt.__notes__ = [*getattr(interrupt, "__notes__", ()), *notes]  # type: ignore[attr-defined]
        raise


def _going_on(job: PreparedJob, jobs: TransformJobs, s3: S3, watcher: JobWatcher) -> TransformJob:
    """The job that runs or is done, else a new one."""
    number, name = 1, job.name
    while known := jobs.job(name):
        whole = known.status != "Completed" or not _missing(job, s3)
        if whole and not known.ended_badly:
            watcher.line(f'the job "{name}" was started before: {known.status}')
            return known
        number += 1
        name = f"{job.name}-{number}"  # a job that failed keeps its name
    _start(job, name, jobs, s3, watcher, again=number > 1)
    return TransformJob(name, "InProgress")


def _start(job: PreparedJob, name: str, jobs: TransformJobs, s3: S3, watcher: JobWatcher, again: bool) -> None:
    transform = job.transform
    if not again and (other := next(s3.objects(transform.output.folder), None)):
        raise ConfigurationError(f'"{transform.output}" is not empty: it holds "{other.location.key}"',
                                 "Name another folder.")  # fmt: skip
    size = sum(item.size for item in job.inputs)
    watcher.line(
        f'SageMaker in {jobs.region} gets the model "{name}": {transform.image.pinned}, {transform.model}, '
        f"{transform.role}"
    )
    watcher.line(
        f'and the transform job "{name}": {transform.instances} x {transform.instance_type}, {len(job.inputs)} file(s) '
        f"of {size:,} bytes in all, to {transform.output}"
    )
    if transform.instances > len(job.inputs):
        watcher.line(
            f"warning: a file is explained by one instance, so {transform.instances - len(job.inputs)} of "
            f"{transform.instances} have nothing to do: split the input into more files, or ask for fewer instances"
        )
    jobs.start(job.model_request(name), job.job_request(name))


def _ended(job: PreparedJob, known: TransformJob, jobs: TransformJobs, s3: S3, watcher: JobWatcher,
           sleep: Callable[[float], None]) -> TransformJob:  # fmt: skip
    while True:
        last = jobs.job(known.name)
        if last is None:
            raise AwsError(f'SageMaker has no job "{known.name}" any more')
        if last.status == "Completed" or last.ended_badly:
            break
        watcher.files(len(job.inputs) - len(_missing(job, s3)), len(job.inputs))
        sleep(_POLL_SECONDS)
    jobs.delete_model(last.name)
    if last.ended_badly:
        raise AwsError(
            f'the job "{last.name}" has {last.status.lower()}: {last.reason or "no reason is told"}',
            f"Its log: CloudWatch, /aws/sagemaker/TransformJobs, streams {last.name}/…; what it left at "
            f"{job.transform.output} is not whole. The same command starts another.",
        )
    if missing := _missing(job, s3):
        raise AwsError(f'the job "{last.name}" has completed, and there is no output of "{missing[0]}"')
    watcher.files(len(job.inputs), len(job.inputs))
    return last


def _missing(job: PreparedJob, s3: S3) -> list[S3Location]:
    """The inputs that have no output yet: SageMaker adds `.out` to a name, below the output or a folder of the
    input's in there."""
    folder = job.transform.output.folder
    there = {item.location.key.removeprefix(folder.key) for item in s3.objects(folder)}
    return [item.location for item in job.inputs if not there & _outputs(item.location.key, job.transform.source.key)]


def _outputs(key: str, source: str) -> set[str]:
    parts = key.split("/")
    last = source.count("/")  # where the name within the source begins
    return {f"{'/'.join(parts[begin:])}.out" for begin in range(last + 1)}
