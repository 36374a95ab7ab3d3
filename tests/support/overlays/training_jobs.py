"""Training jobs of the base, each in a process of its own, forked from one that has imported the base.

`python training_jobs.py FOLDER` reads a line of JSON for each job (`fixes`, and `interrupt`: the round in which the
process is killed, or null) and answers with its exit code; the job is what FOLDER/ml links to.
"""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import numpy as np

LINE = re.compile(r"^(?:\[[^]\n]+\] )?\[(\d+)\]\t(\S+:\S+(?:\t\S+:\S+)*)$", re.MULTILINE)
CHANNEL = {
    "ContentType": "text/csv",
    "TrainingInputMode": "File",
    "S3DistributionType": "FullyReplicated",
    "RecordWrapperType": "None",
}


@dataclass(frozen=True)
class Job:
    """What SageMaker lays under /opt/ml: hyperparameters, and rows (label first) by channel."""

    hyperparameters: Dict[str, str]
    channels: Dict[str, np.ndarray]
    checkpoints: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a job left: its exit code (-9 where it was killed), what it printed, and its folder."""

    code: int
    folder: Path

    @property
    def output(self) -> str:
        return (self.folder / "stdout").read_text() + (self.folder / "stderr").read_text()

    @property
    def rounds(self) -> List[Tuple[int, Dict[str, float]]]:
        found = LINE.findall((self.folder / "stdout").read_text())
        return [(int(number), dict(_metric(pair) for pair in pairs.split("\t"))) for number, pairs in found]

    @property
    def models(self) -> List[Path]:
        return sorted(path for path in (self.folder / "model").iterdir() if path.is_file())

    @property
    def checkpoints(self) -> List[int]:
        names = [path.name for path in (self.folder / "checkpoints").glob("xgboost-checkpoint.*")]
        return sorted(int(name.split(".")[1]) for name in names)


def _metric(pair: str) -> Tuple[str, float]:
    name, value = pair.split(":")
    return name, float(value)


@dataclass
class Trainer:
    """Runs jobs under `folder`, one after the other."""

    folder: Path
    _process: Optional[subprocess.Popen] = None
    _made: List[Path] = field(default_factory=list)

    def __enter__(self) -> "Trainer":
        base = {"SAGEMAKER_BASE_DIR": str(self.folder / "ml"), "SM_INPUT": str(self.folder / "ml/input")}
        command = [sys.executable, "-W", "ignore", __file__, str(self.folder)]
        self._process = subprocess.Popen(
            command, env={**os.environ, **base}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *ignored: object) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def new(self, job: Job) -> Path:
        """The folder of a job that has not run."""
        folder = self.folder / f"job-{len(self._made)}"
        self._made.append(folder)
        lay_out(folder, job)
        return folder

    def run(self, job: Job, *fixes: str) -> Outcome:
        return self.start(self.new(job), *fixes)

    def start(self, folder: Path, *fixes: str, interrupt: Optional[int] = None) -> Outcome:
        """Run the job of `folder`, again where it has run before."""
        link = self.folder / "ml"
        if link.is_symlink():
            link.unlink()
        link.symlink_to(folder)
        self._process.stdin.write(json.dumps({"fixes": ",".join(fixes), "interrupt": interrupt}) + "\n")
        self._process.stdin.flush()
        return Outcome(int(self._process.stdout.readline()), folder)


def lay_out(folder: Path, job: Job) -> None:
    for name in ("input/config", "model", "output/data", "checkpoints"):
        (folder / name).mkdir(parents=True)
    for name, rows in job.channels.items():
        (folder / "input/data" / name).mkdir(parents=True)
        np.savetxt(str(folder / "input/data" / name / "rows.csv"), rows, delimiter=",", fmt="%.7g")
    documents = {
        "hyperparameters": job.hyperparameters,
        "inputdataconfig": dict.fromkeys(job.channels, CHANNEL),
        "resourceconfig": {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "lo"},
    }
    if job.checkpoints:
        documents["checkpointconfig"] = {"LocalPath": str(folder / "checkpoints")}
    for name, document in documents.items():
        (folder / "input/config" / (name + ".json")).write_text(json.dumps(document))


def serve(folder: str) -> None:
    """The process that jobs are forked from: the base is imported once."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from xgbpatch_overlays import train  # noqa: F401 - imported for the forks
    from xgbpatch_overlays.training import artifacts  # noqa: F401 - the same

    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            become_job(Path(folder) / "ml", json.loads(line))
        _, status = os.waitpid(child, 0)
        answers.write(f"{-os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)}\n")
        answers.flush()


def become_job(ml: Path, asked: Dict[str, Optional[str]]) -> None:
    """As `train` of the image ends: 0 after SystemExit(0), 1 after an exception, whose text goes to stderr."""
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(str(ml / name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    config = str(ml / "input/config")
    os.environ.update({
        "XGBPATCH_FIXES": asked["fixes"],
        "SM_INPUT_TRAINING_CONFIG_FILE": config + "/hyperparameters.json",
        "SM_INPUT_DATA_CONFIG_FILE": config + "/inputdataconfig.json",
        "SM_CHECKPOINT_CONFIG_FILE": config + "/checkpointconfig.json",
    })  # fmt: skip
    keep_to_own_folder(ml)
    if asked["interrupt"] is not None:
        kill_in_round(asked["interrupt"])
    code = 1
    try:
        from xgbpatch_overlays import train

        train.main()
    except SystemExit as ending:
        code = ending.code or 0
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def keep_to_own_folder(ml: Path) -> None:
    """1.7-1 and later gather input in one folder of the machine; two suites at once would share it."""
    try:
        from sagemaker_xgboost_container import _input_folder
    except ImportError:
        return
    _input_folder._LINKS = str(ml / "links")


def kill_in_round(number: int) -> None:
    """The process is gone, as after a Spot interruption, when XGBoost is asked for that round of this process."""
    import xgboost

    update = xgboost.Booster.update

    def update_or_die(booster, dtrain, iteration, fobj=None):
        if iteration == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return update(booster, dtrain, iteration, fobj)

    xgboost.Booster.update = update_or_die


if __name__ == "__main__":
    serve(sys.argv[1])
