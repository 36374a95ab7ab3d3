"""Training jobs of the base, each in a process of its own, forked from one that has imported the base.

`serve(FOLDER)` is that one. It reads a line of JSON for each job (`fixes`; `interrupt`: the round in which the process
is killed, or null; `forks_to_load`: see `load_in_forks`; `module`: see `Trainer.fail`) and answers with its exit code;
the job is what FOLDER/ml links to.
"""

import gc
import json
import os
import random
import re
import signal
import socket
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Dict, List, Optional, Tuple

import numpy as np

from support.overlays import forks

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
    header: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a job left: its exit code (-9 where it was killed), what it printed, and its folder."""

    code: int
    folder: Path

    @property
    def output(self) -> str:
        return (self.folder / "stdout").read_text() + (self.folder / "stderr").read_text()

    @property
    def failure(self) -> bytes:
        """What it left for SageMaker's FailureReason; empty where there is nothing."""
        path = self.folder / "output" / "failure"
        return path.read_bytes() if path.exists() else b""

    @property
    def rounds(self) -> List[Tuple[int, Dict[str, float]]]:
        matches = LINE.findall((self.folder / "stdout").read_text())
        return [(int(number), dict(_metric(pair) for pair in pairs.split("\t"))) for number, pairs in matches]

    @property
    def models(self) -> List[Path]:
        return sorted(path for path in (self.folder / "model").iterdir() if path.is_file() and path.name[0] != ".")

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
    _process: Optional[forks.Fork] = None
    _pipes: Tuple[IO[str], ...] = ()
    _made: List[Path] = field(default_factory=list)

    def __enter__(self) -> "Trainer":
        base = {"SAGEMAKER_BASE_DIR": str(self.folder / "ml"), "SM_INPUT": str(self.folder / "ml/input")}
        idle = self.folder / "idle"  # the base makes folders below `ml` when it is imported, whenever that is
        idle.mkdir()
        (self.folder / "ml").symlink_to(idle)
        orders, answers = self.folder / "orders", self.folder / "answers"
        for pipe in (orders, answers):
            os.mkfifo(str(pipe))
        program = "import sys; from support.overlays import training_jobs; training_jobs.serve(sys.argv[1])"
        known = {**os.environ, **base}
        self._process = forks.start(program, str(self.folder), environment=known, stdin=str(orders), stdout=answers)
        self._pipes = (orders.open("w"), answers.open())  # in the order in which the process opens them
        return self

    def __exit__(self, *ignored: object) -> None:
        for pipe in self._pipes:
            pipe.close()
        self._process.wait(timeout=30)

    def new(self, job: Job) -> Path:
        """The folder of a job that has not run."""
        folder = self.folder / f"job-{len(self._made)}"
        self._made.append(folder)
        lay_out(folder, job)
        return folder

    def run(self, job: Job, *fixes: str) -> Outcome:
        return self.start(self.new(job), *fixes)

    def fail(self, job: Job, module: str, *fixes: str, features: str = "") -> Outcome:
        """Run a job as the command `train` does, with `module` as SAGEMAKER_TRAINING_MODULE."""
        return self.start(self.new(job), *fixes, module=module, features=features)

    def start(
        self,
        folder: Path,
        *fixes: str,
        interrupt: Optional[int] = None,
        forks_to_load: bool = True,
        module: str = "",
        features: Optional[str] = None,
    ) -> Outcome:
        """Run the job of `folder`, again where it has run before."""
        link = self.folder / "next"
        link.symlink_to(folder)
        link.replace(self.folder / "ml")  # at no moment is there none
        orders, answers = self._pipes
        order = {"fixes": ",".join(fixes), "interrupt": interrupt, "forks_to_load": forks_to_load, "module": module}
        order.update({} if features is None else {"features": features})
        orders.write(json.dumps(order) + "\n")
        orders.flush()
        return Outcome(int(answers.readline()), folder)


def lay_out(folder: Path, job: Job) -> None:
    for name in ("input/config", "model", "output/data", "checkpoints"):
        (folder / name).mkdir(parents=True)
    for name, rows in job.channels.items():
        (folder / "input/data" / name).mkdir(parents=True)
        np.savetxt(
            str(folder / "input/data" / name / "rows.csv"),
            rows,
            delimiter=",",
            fmt="%.7g",
            header=job.header,
            comments="",
        )
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

    gc.freeze()  # so that no fork copies what it only reads
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            become_job(Path(folder) / "ml", json.loads(line))
        _, status = os.waitpid(child, 0)
        answers.write(f"{-os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)}\n")
        answers.flush()


def become_job(ml: Path, order: Dict[str, Any]) -> None:
    """As `train` of the image ends: 0 after SystemExit(0), 1 after an exception, whose text goes to stderr."""
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(str(ml / name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    config = str(ml / "input/config")
    os.environ.update({
        "XGBPATCH_FIXES": order["fixes"],
        "SM_INPUT_TRAINING_CONFIG_FILE": config + "/hyperparameters.json",
        "SM_INPUT_DATA_CONFIG_FILE": config + "/inputdataconfig.json",
        "SM_CHECKPOINT_CONFIG_FILE": config + "/checkpointconfig.json",
    })  # fmt: skip
    keep_to_own_folder(ml)
    if order["interrupt"] is not None:
        kill_in_round(order["interrupt"])
    if "checkpoint-resume" in order["fixes"] and order["forks_to_load"]:
        load_in_forks()
    os.environ["XGBPATCH_FEATURES"] = order.get("features", os.environ.get("XGBPATCH_FEATURES", ""))
    if order.get("module"):
        trainer_ends(order["module"])
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


def trainer_ends(module: str) -> None:
    """This process ends as `train` of the base does, what it has printed flushed."""
    from sagemaker_containers import _trainer

    def leave(code: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    warnings.resetwarnings()  # a fork ignores them, `train` does not
    os.environ["SAGEMAKER_TRAINING_MODULE"] = module
    _trainer._exit_processes = leave
    _trainer.train()


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


def load_in_forks() -> None:
    """A checkpoint is looked at by a fork of this process, and not by a new Python that imports XGBoost."""
    import xgboost

    if not hasattr(xgboost.callback, "TrainingCallback"):
        return  # 1.2 resumes by itself
    from xgbpatch_overlays.fixes import checkpoint_resume

    def configuration(path: str) -> Any:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with os.fdopen(writer, "w") as stream:
                    stream.write(xgboost.Booster(model_file=path).save_config())
                code = 0
            finally:
                os._exit(code)
        os.close(writer)
        with os.fdopen(reader) as stream:
            text = stream.read()
        if os.waitpid(child, 0)[1]:
            raise ValueError("it does not load")
        return json.loads(text)

    checkpoint_resume._configuration = configuration


def free_ports(count: int) -> List[str]:
    """Ports for the base's trackers, which no reserved socket may stand in the way of: below those that the system
    gives to whoever asks for any."""
    ports: List[str] = []
    while len(ports) < count:
        port = random.randrange(10000, 32768)
        with socket.socket() as probe:
            if str(port) not in ports and probe.connect_ex(("127.0.0.1", port)):
                ports.append(str(port))
    return ports
