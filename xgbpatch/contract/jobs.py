"""The training jobs of the checks, and how one is run under SageMaker's contract."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from xgbpatch.contract import payloads
from xgbpatch.engine.client import Container
from xgbpatch.engine.types import Mount, Run
from xgbpatch.errors import EngineError
from xgbpatch.inspection import model_archive

HOST = "algo-1"
ROUNDS = 10
TIMEOUT_SECONDS = 180
DEFAULTS = {"num_round": str(ROUNDS), "objective": "reg:squarederror", "max_depth": "5", "eta": "0.3"}
CHECKPOINTS = "/opt/ml/checkpoints"


@dataclass(frozen=True)
class Job:
    """A training job on abalone; hyperparameters are strings, as SageMaker passes them.

    `changed` are hyperparameters beside or in the place of `DEFAULTS`, an empty one takes it away; `old` asks whether a
    shell has more than 9 rings, and not how many. `keeps_checkpoints` sets a checkpoint folder up; the job begins after
    the job named `after`, and finds what that one left there.
    """

    name: str
    content_type: str = "text/libsvm"
    changed: tuple[tuple[str, str], ...] = ()
    old: bool = False
    keeps_checkpoints: bool = False
    after: Job | None = None

    @property
    def hyperparameters(self) -> Mapping[str, str]:
        return {name: value for name, value in {**DEFAULTS, **dict(self.changed)}.items() if value}

    @property
    def rounds(self) -> int:
        return int(self.hyperparameters["num_round"])

    @property
    def checkpoints(self) -> str:
        """The name of its checkpoint folder, which is that of the job before it."""
        return self.after.checkpoints if self.after else f"{self.name}-checkpoints" if self.keeps_checkpoints else ""


@dataclass(frozen=True)
class Trained:
    """A job's outcome: exit code (None when it did not end in time), output, and the `/opt/ml` it left at `root`."""

    exit_code: int | None
    stdout: str
    stderr: str
    root: Path = field(repr=False)

    @property
    def ending(self) -> str:
        """How it ended, for a sentence."""
        return f"did not end within {TIMEOUT_SECONDS} s" if self.exit_code is None else f"exit code {self.exit_code}"

    @property
    def model(self) -> Path:
        return self.root / "model" / "xgboost-model"

    @property
    def models(self) -> list[Path]:
        """The model file, or those of a k-fold job."""
        return sorted(self.root.glob("model/xgboost-model*"))

    @property
    def beside(self) -> Mapping[str, bytes]:
        """What the feature `training` wrote beside the model; raises `ConfigurationError` where it is damaged."""
        return model_archive.read(self.root / "model").beside

    @property
    def failure(self) -> str:
        """The text of `/opt/ml/output/failure`, empty when it was not written."""
        path = self.root / "output" / "failure"
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def prepare(job: Job, root: Path) -> None:
    """Lay out `/opt/ml` at `root`: configuration, channels and empty output folders."""
    payloads.write_channels(root / "input" / "data", job.content_type, job.old)
    for folder in ("input/config", "model", "output/data"):
        (root / folder).mkdir(parents=True)
    channel = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
    settings = {
        "hyperparameters": dict(job.hyperparameters),
        "inputdataconfig": {name: {"ContentType": job.content_type, **channel} for name in payloads.ABALONE_CHANNELS},
        "resourceconfig": {"current_host": HOST, "hosts": [HOST], "network_interface_name": "eth0"},
    }
    if job.checkpoints:
        settings["checkpointconfig"] = {"S3Uri": "s3://bucket/checkpoints", "LocalPath": CHECKPOINTS}
        (root.parent / job.checkpoints).mkdir(exist_ok=True)
    for name, content in settings.items():
        (root / "input" / "config" / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def run(image: str, job: Job, root: Path) -> Run:
    """The container as SageMaker starts it: argument `train`, `/opt/ml` mounted, the host name of resourceconfig."""
    mounts = [Mount(root, "/opt/ml")]
    if job.checkpoints:
        mounts.append(Mount(root.parent / job.checkpoints, CHECKPOINTS))
    environment = {"TRAINING_JOB_NAME": "xgbpatch-test-local"}
    return Run(image, ("train",), environment=environment, mounts=tuple(mounts), hostname=HOST)


def finish(container: Container, root: Path) -> Trained:
    """Wait for the job to end, three minutes at most."""
    try:
        exit_code: int | None = container.wait(TIMEOUT_SECONDS)
    except EngineError:
        if not container.running:
            raise
        exit_code = None
    return Trained(exit_code, container.stdout(), container.stderr(), root)


# The training jobs that the checks ask for; each runs once, where a check that applies needs it.


NAMES = ("column 0", *payloads.ABALONE_NAMES)  # libsvm training sees a column in front of the features
OBSERVED_BACKGROUND = 20  # rows

ABALONE = Job("abalone")
ABALONE_CSV = Job("abalone-csv", content_type="text/csv", changed=(("eta", "0.2"),))
BAD = Job("user-error", changed=(("eta", "-1"),))  # refused by the base, and by xgboost for the fix objectives
LOGISTIC = Job(
    "logistic", old=True, changed=(("objective", "binary:logistic"), ("eval_metric", "error,accuracy"))
)  # fmt: skip


# Deep trees: rows that a fold was trained on look far better than those it was not.
K_FOLD = Job(
    "k-fold", old=True,
    changed=(("objective", "binary:hinge"), ("_kfold", "3"), ("eval_metric", "error"), ("max_depth", "8")),
)  # fmt: skip
UNSTATED = Job("no-objective", changed=(("objective", ""), ("eval_metric", "mae")))
# What the base refuses and every xgboost knows.
PROBABILITIES = Job(
    "probabilities", old=True,
    changed=(
        ("objective", "reg:logistic"), ("eval_metric", "auc,pre@9"),
        ("_tuning_objective_metric", "validation:error@0.7"),
    ),
)  # fmt: skip
SEEDED = Job(
    "seeded",
    changed=(
        ("random_state", "7"),
        ("base_score", "-1"),
        ("interaction_constraints", "[[0, 1], [2, 3]]"),
        ("tree_method", "hist"),
    ),
)
COUNTS = Job("counts", changed=(("objective", "count:poisson"),))  # the base trains it, and selects no key of it
LINEAR = Job(
    "linear",
    changed=(
        ("booster", "gblinear"), ("max_depth", ""), ("eval_metric", "rmse"), ("early_stopping_rounds", "2"),
    ),
)  # fmt: skip
INTERRUPTED = Job("interrupted", changed=(("num_round", "4"),), keeps_checkpoints=True)
RESUMED = Job("resumed", changed=(("num_round", "10"),), after=INTERRUPTED)
FOLDS = Job("folds", changed=(("_kfold", "2"), ("num_round", "2")), keeps_checkpoints=True)
FOLDS_AGAIN = Job("folds-again", changed=FOLDS.changed, after=FOLDS)
ENCODED = Job(  # as SDKs send them
    "encoded",
    changed=(*((name, json.dumps(value)) for name, value in DEFAULTS.items()), ("eval_metric", "['rmse', 'mae']")),
)
OBSERVED = Job(
    "observed",
    changed=(
        ("eval_metric", "mae"), ("xgbpatch_feature_names", ",".join(NAMES)), ("xgbpatch_importance_rows", "0"),
        ("xgbpatch_background_rows", str(OBSERVED_BACKGROUND)),
        ("xgbpatch_metrics", "sklearn.metrics.mean_absolute_error"),
    ),
)  # fmt: skip
