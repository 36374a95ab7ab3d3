"""The base's `train` does what the facts say of the official image (sections 4.1 to 4.8), in the real container.

Most jobs of a base run in one container (`support.standin.base_process`); `start` is the user's `docker run`.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import xgbpatch
from support.standin.base_process import BaseProcess
from xgbpatch.engine.client import Container, Engine
from xgbpatch.engine.types import Mount, Run

ABALONE = Path(xgbpatch.__file__).parent / "data" / "abalone"
PROBE = "/tests/support/standin/probe_training.py"  # in the container
TIMEOUT = 240
REGRESSION = {"objective": "reg:squarederror", "num_round": "4", "max_depth": "3"}
BINARY = {"objective": "binary:logistic", "num_round": "4", "max_depth": "3"}
METRIC_LINE = re.compile(r"^(?:\[[^]\n]+\] )?\[(\d+)\]\t(\S+:\S+(?:\t\S+:\S+)*)$", re.MULTILINE)
# XGBoost's tracker writes a line and its end to stderr apart, so other threads' lines may follow a metric at once.
TRACKED_METRICS = re.compile(r"\[(\d+)\]\ttrain-rmse:\d+\.\d{5}\tvalidation-rmse:\d+\.\d{5}")


def abalone(channel: str) -> list[str]:
    names = ["train_0.libsvm", "train_1.libsvm"] if channel == "train" else ["validation.libsvm"]
    return [line for name in names for line in (ABALONE / name).read_text().splitlines()]


def write_libsvm(folder: Path, channel: str) -> None:
    for name in ("train_0.libsvm", "train_1.libsvm") if channel == "train" else ("validation.libsvm",):
        shutil.copy(ABALONE / name, folder)


@dataclass(frozen=True)
class Job:
    """One training job; `write` puts data into a channel's folder, the published abalone data as LibSVM by default."""

    hyperparameters: dict[str, str]
    write: Callable[[Path, str], None] = write_libsvm
    validation: bool = True
    content_type: str = "text/libsvm"
    hosts: tuple[str, ...] = ("algo-1",)
    checkpoints: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a job left: exit code, what it printed, and its /opt/ml."""

    exit_code: int
    stdout: str
    stderr: str
    ml: Path

    @property
    def failure(self) -> str:
        path = self.ml / "output" / "failure"
        return path.read_text() if path.exists() else ""

    @property
    def models(self) -> list[str]:
        return sorted(path.name for path in (self.ml / "model").iterdir())

    def metrics(self) -> list[tuple[int, dict[str, float]]]:
        """The rounds that stdout reports, each with its metrics by name."""
        return [
            (int(number), {name: float(value) for name, value in (pair.split(":") for pair in pairs.split("\t"))})
            for number, pairs in METRIC_LINE.findall(self.stdout)
        ]


def write_old_or_young(folder: Path, channel: str) -> None:
    """Label 1 where an abalone has more than 9 rings."""
    lines = [line.split(" ", 1) for line in abalone(channel)]
    rows = [f"{int(float(rings) > 9)} {features}" for rings, features in lines]
    (folder / "rows.libsvm").write_text("\n".join(rows) + "\n")


def write_csv(folder: Path, channel: str) -> None:
    rows = [re.sub(r" \d:", ",", line) for line in abalone(channel)]
    (folder / "rows.csv").write_text("\n".join(rows) + "\n")


def prepare(ml: Path, job: Job, host: str = "algo-1") -> None:
    """Lays out /opt/ml as SageMaker does before it starts `train`."""
    channels = ["train", "validation"] if job.validation else ["train"]
    for name in ("input/config", "model", "output/data", "checkpoints", *(f"input/data/{name}" for name in channels)):
        (ml / name).mkdir(parents=True, exist_ok=True)
    for channel in channels:
        job.write(ml / "input" / "data" / channel, channel)
    channel_configuration = {
        "ContentType": job.content_type,
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    }
    configurations: dict[str, Any] = {
        "hyperparameters": job.hyperparameters,
        "inputdataconfig": dict.fromkeys(channels, channel_configuration),
        "resourceconfig": {"current_host": host, "hosts": list(job.hosts), "network_interface_name": "eth0"},
    }
    if job.checkpoints:
        configurations["checkpointconfig"] = {"LocalPath": "/opt/ml/checkpoints"}
    for name, document in configurations.items():
        (ml / "input" / "config" / f"{name}.json").write_text(json.dumps(document))


@pytest.fixture(scope="module")
def base(base_of: Callable[[str], str], version: str) -> str:
    return base_of(version)


@pytest.fixture
def start(engine: Engine, base: str, tmp_path: Path) -> Callable[..., Any]:
    """start(job): the running container of a job, as a context, with its /opt/ml."""

    @contextmanager
    def started(job: Job, command: tuple[str, ...] = ("train",), host: str = "algo-1") -> Iterator[Container]:
        prepare(tmp_path / host, job, host)
        with engine.container(Run(base, command, mounts=(Mount(tmp_path / host, "/opt/ml"),))) as container:
            yield container

    return started


@pytest.fixture
def train(process: BaseProcess, work: Path) -> Callable[[Job], Outcome]:
    """train(job): what the job left when it had ended."""

    def trained(job: Job) -> Outcome:
        prepare(work / "algo-1", job)
        result = process.run("train", ml=work / "algo-1")
        return Outcome(result.exit_code, result.stdout, result.stderr, work / "algo-1")

    return trained


def ask(process: BaseProcess, question: dict[str, Any], ml: Path) -> Any:
    """The answer of `probe_training.py`, run with the base's own Python, `ml` being its /opt/ml."""
    completed = process.run(PROBE, json.dumps(question), ml=ml)
    assert completed.exit_code == 0, completed.stderr
    return json.loads(completed.stdout.splitlines()[-1])


def is_modern(version: str) -> bool:
    return int(version.split(".", maxsplit=1)[0]) >= 3


def begins_as(version: str) -> bytes:
    """The first bytes of the model that the version writes: a pickle, XGBoost's older binary, UBJSON."""
    if version == "1.2-2":
        return b"\x80\x04"
    return b"{L" if is_modern(version) else b"binf"


def test_job_exits_0_with_the_model_and_no_success_file(train, version):
    outcome = train(Job(dict(REGRESSION, eval_metric="rmse,mae")))
    assert (outcome.exit_code, outcome.models) == (0, ["xgboost-model"])
    assert [path.name for path in (outcome.ml / "output").iterdir()] == ["data"]
    assert (outcome.ml / "model" / "xgboost-model").read_bytes().startswith(begins_as(version))


def test_metric_lines_match_what_a_tuning_job_reads(train):
    outcome = train(Job(dict(REGRESSION, eval_metric="mae", _tuning_objective_metric="validation:rmse")))
    rounds = outcome.metrics()
    assert [number for number, _ in rounds] == [0, 1, 2, 3]
    assert {name for _, metrics in rounds for name in metrics} == {
        "train-mae", "train-rmse", "validation-mae", "validation-rmse",
    }  # fmt: skip
    in_cloudwatch = outcome.stdout.replace("\t", "#011")
    for metric in ("rmse", "mae"):
        printed = re.findall(rf".*\[[0-9]+\].*#011validation-{metric}:(\S+)", in_cloudwatch)
        assert [re.sub(r"#011.*", "", value) for value in printed] == [
            f"{metrics[f'validation-{metric}']:.5f}" for _, metrics in rounds
        ]
    errors = [metrics["validation-rmse"] for _, metrics in rounds]
    assert errors == sorted(errors, reverse=True)


def test_csv_and_libsvm_of_the_same_rows_give_the_same_errors(train, work):
    of_libsvm = train(Job(REGRESSION)).metrics()
    shutil.rmtree(work / "algo-1")
    of_csv = train(Job(REGRESSION, write=write_csv, content_type="text/csv")).metrics()
    assert len(of_csv) == 4
    assert of_csv == of_libsvm


def test_wrong_hyperparameter_exits_1_and_writes_a_failure(train):
    outcome = train(Job(dict(REGRESSION, sagemaker_region="eu-west-1")))
    assert outcome.exit_code == 1
    assert outcome.failure.startswith("framework error: \nTraceback")
    assert "UserError: Extraneous hyperparameter found: sagemaker_region" in outcome.failure
    assert outcome.models == []


def test_empty_validation_channel_is_the_users_error(train):
    def write_train_only(folder: Path, channel: str) -> None:
        if channel == "train":
            write_libsvm(folder, channel)

    outcome = train(Job(REGRESSION, write=write_train_only))
    assert outcome.exit_code == 1
    assert re.search(r"^sagemaker_algorithm_toolkit\.exceptions\.UserError: ", outcome.failure, re.MULTILINE)


def test_wrong_labels_are_the_users_error_until_3_0_words_it_differently(train, version):
    outcome = train(Job(BINARY))  # rings are no 0 or 1
    assert outcome.exit_code == 1
    blamed = "AlgorithmError" if is_modern(version) else "UserError"
    assert re.search(rf"^sagemaker_algorithm_toolkit\.exceptions\.{blamed}: ", outcome.failure, re.MULTILINE)


def test_other_failures_of_xgboost_are_the_algorithms(train):
    outcome = train(Job(dict(REGRESSION, process_type="update", updater="refresh")))
    assert outcome.exit_code == 1
    assert "exceptions.AlgorithmError: XGB train call failed with exception:\n " in outcome.failure


def test_custom_accuracy_is_right_up_to_1_7_and_cuts_probabilities_at_0_in_3(train, version):
    outcome = train(Job(dict(BINARY, eval_metric="error,accuracy"), write=write_old_or_young))
    metrics = outcome.metrics()[-1][1]
    if is_modern(version):
        share = sum(line.startswith("1 ") for line in labels_of("validation")) / len(labels_of("validation"))
        assert metrics["validation-accuracy"] == pytest.approx(share, abs=1e-5)  # every row counts as class 1
        assert metrics["validation-accuracy"] != pytest.approx(1 - metrics["validation-error"], abs=0.1)
    else:
        assert metrics["validation-accuracy"] == pytest.approx(1 - metrics["validation-error"], abs=2e-5)


def labels_of(channel: str) -> list[str]:
    return [f"{int(float(line.split()[0]) > 9)} " for line in abalone(channel)]


def test_early_stopping_keeps_the_best_trees_or_their_number(process, train, version):
    overfitting = dict(REGRESSION, num_round="60", eta="0.9", max_depth="8", eval_metric="rmse")
    outcome = train(Job(dict(overfitting, early_stopping_rounds="3")))
    rounds = outcome.metrics()
    best = min(rounds, key=lambda numbered: numbered[1]["validation-rmse"])[0]
    printed = {best + 3} if version == "3.2-0" else {best + 2, best + 3}  # before 3.2 callbacks have no certain order
    assert rounds[-1][0] in printed
    model = ask(process, {"model": "/opt/ml/model/xgboost-model"}, outcome.ml)
    trees = best + 4 if version == "1.2-2" else best + 1  # 1.2-2 keeps all trees, and serving cuts them
    assert (model["trees"], model["attributes"]["best_iteration"]) == (trees, str(best))
    if version == "1.2-2":
        assert model["kept"] == {"best_iteration": best, "best_ntree_limit": best + 1}


def test_early_stopping_without_metric_does_nothing_from_1_3_on(train, version):
    overfitting = dict(REGRESSION, num_round="20", eta="0.9", max_depth="8", early_stopping_rounds="2")
    rounds = train(Job(overfitting)).metrics()
    assert len(rounds) < 15 if version == "1.2-2" else len(rounds) == 20


def test_folds_give_a_model_each_and_out_of_fold_predictions(train):
    outcome = train(Job(dict(REGRESSION, eval_metric="rmse", _kfold="3")))
    assert outcome.models == ["xgboost-model-0", "xgboost-model-1", "xgboost-model-2"]
    assert [number for number, _ in outcome.metrics()] == [0, 1, 2, 3] * 3 + [4]
    rows = (outcome.ml / "output" / "data" / "predictions.csv").read_text().splitlines()
    assert len(rows) == len(abalone("train")) + len(abalone("validation"))
    assert {row.count(",") for row in rows} == {1}
    means = [
        sum(metrics["validation-rmse"] for number, metrics in outcome.metrics() if number == 3) / 3,
        outcome.metrics()[-1][1]["validation-rmse"],
    ]
    assert means[0] == pytest.approx(means[1], abs=1e-5)


def test_checkpoint_is_resumed_from_in_1_2_only(train, version):
    job = Job(dict(REGRESSION, eval_metric="rmse"), checkpoints=True)
    first = train(job)
    names = sorted(path.name for path in (first.ml / "checkpoints").iterdir())
    again = train(replace(job, hyperparameters=dict(job.hyperparameters, num_round="6")))
    assert again.exit_code == 0
    rounds = [number for number, _ in again.metrics()]
    if version == "1.2-2":
        assert (names, rounds) == ([f"xgboost-checkpoint.{number}" for number in range(4)], [4, 5])
    else:
        once = "xgboost-checkpoint_0.ubj" if is_modern(version) else "xgboost-checkpoint_0.json"
        assert (names, rounds) == ([once], list(range(6)))
        assert again.metrics()[:4] == first.metrics()


def test_sigterm_with_save_model_on_termination_exits_0_and_leaves_the_model(start, tmp_path):
    job = Job(dict(REGRESSION, num_round="1000000", save_model_on_termination="true"), validation=False)
    with start(job) as container:
        model = tmp_path / "algo-1" / "model" / "xgboost-model"
        wait_until(model.exists, container)
        (model.parent / "leftover").touch()
        assert container.stop("SIGTERM", TIMEOUT) is not None
        assert container.wait(TIMEOUT) == 0
    assert model.exists()
    assert not (model.parent / "leftover").exists()


def wait_until(condition: Callable[[], bool], container: Container) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert container.running, container.stdout() + container.stderr()
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_two_hosts_train_one_model_that_the_first_saves(start, tmp_path):
    """Each host has one of the two files; names resolve only once both containers have an address."""
    hosts = ("algo-1", "algo-2")
    wait = "until grep -q algo-2 /etc/hosts; do sleep 0.2; done; exec train"
    with ExitStack() as stack:
        containers = []
        for number, host in enumerate(hosts):
            job = Job(dict(REGRESSION, eval_metric="rmse"), write=share(number), hosts=hosts)
            containers.append(stack.enter_context(start(job, ("sh", "-c", wait), host)))
        addresses = [container.execute(["hostname", "-i"])[1].decode().strip() for container in containers]
        lines = "".join(f"{address} {host}\\n" for address, host in zip(addresses, hosts, strict=True))
        for container in containers:
            assert container.execute(["sh", "-c", f"printf '{lines}' >> /etc/hosts"])[0] == 0
        outcomes = [
            Outcome(container.wait(TIMEOUT), container.stdout(), container.stderr(), tmp_path / host)
            for container, host in zip(containers, hosts, strict=True)
        ]
    assert [outcome.exit_code for outcome in outcomes] == [0, 0], outcomes[0].stdout + outcomes[1].stdout
    assert [outcome.models for outcome in outcomes] == [["xgboost-model"], []]
    output = outcomes[0].stdout + outcomes[0].stderr
    assert TRACKED_METRICS.findall(output) == ["0", "1", "2", "3"], output


def share(number: int) -> Callable[[Path, str], None]:
    def write(folder: Path, channel: str) -> None:
        shutil.copy(ABALONE / (f"train_{number}.libsvm" if channel == "train" else "validation.libsvm"), folder)

    return write
