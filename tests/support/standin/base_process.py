"""A container of a base in which programs run one after the other, forks of a process that has the base's packages.

`docker run BASE train` starts a container and imports XGBoost and what goes with it, which costs 3 CPU seconds a job.
Here the image's own `train` runs too, in its image and environment, with its own /opt/ml. So does a gunicorn with the
image's application, as the image starts it but for nginx before it.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from support.patient_engine import PatientEngine
from support.standin import served_base
from xgbpatch.contract.server import Models
from xgbpatch.engine.client import Container, Engine
from xgbpatch.engine.types import Completed, Mount, Run
from xgbpatch.errors import EngineError

_TESTS = Path(__file__).resolve().parents[2]
_START_SECONDS = 120
_SECONDS = 240
_SERVER = "rm -rf /opt/ml && exec python /tests/support/overlays/forks.py </work/orders >/work/answers"
_PORTS = tuple(range(8081, 8097))  # of the servers
_FOLDER = "/opt/ml/model"
_UNLOADABLE = f"served-{Models.PICKLE.value}"  # how `serve` itself ends is what is checked there
_GUNICORN = """
import runpy
runpy.run_module("gunicorn.app.wsgiapp", run_name="__main__", alter_sys=True)
"""
_BEGIN = """
import os, runpy, shutil, sys
_, ml, path, *sys.argv = sys.argv
if os.path.islink("/opt/ml"):
    os.unlink("/opt/ml")
os.symlink(ml, "/opt/ml")
path = path if os.sep in path else shutil.which(path)
sys.path[0] = os.path.dirname(path)
runpy.run_path(path, run_name="__main__")
"""


class BaseProcess:
    """Its folder `work` is /work in the container; what runs finds its /opt/ml below that."""

    def __init__(self, container: Container, environment: dict[str, str], work: Path) -> None:
        self._container = container
        self._environment = environment
        self._work = work
        self._count = 0
        self._ports = iter(_PORTS)
        self._orders, self._answers = self._opened()

    def folder(self, name: str) -> Path:
        """A new folder below `work`."""
        self._count += 1
        path = self._work / f"{self._count}-{name}"
        path.mkdir()
        return path

    def run(self, program: str, *arguments: str, ml: Path, environment: Mapping[str, str] | None = None) -> Completed:
        """A command of the image, or a Python file in the container, with `ml` (below `work`) as its /opt/ml."""
        self._count += 1
        streams = [self._work / f"{self._count}-{name}" for name in ("stdout", "stderr")]
        inside = [f"/work/{path.relative_to(self._work)}" for path in (ml, *streams)]
        order = {
            "source": _BEGIN,
            "arguments": ["-c", inside[0], program, program, *arguments],
            "environment": {**self._environment, **(environment or {})},
            "streams": [os.devnull, *inside[1:]],
        }
        pid, deadline = self._answer(order), time.monotonic() + _SECONDS
        while (code := self._answer({"poll": pid})) is None:
            assert time.monotonic() < deadline, f"{program} still runs:\n" + streams[1].read_text()
            time.sleep(0.02)
        return Completed(code, *(path.read_text() for path in streams))

    def serve(self, model: Path, environment: Mapping[str, str]) -> served_base.Endpoint:
        """The application with a copy of that model folder, as soon as it answers; it runs until the container ends."""
        folder = self.folder("model")
        shutil.copytree(model, folder, dirs_exist_ok=True)
        return served_base.ready(self._container, self.start(folder, environment).port)

    def start(self, model: Path, environment: Mapping[str, str]) -> Served:
        """The application with a model folder below `work`, not ready yet; it runs until the container ends."""
        port, folder = next(self._ports), self.folder("served")
        streams = [folder / name for name in ("stdout", "stderr")]
        options = ["--timeout", "60", "-k", "gevent", "--worker-connections", "1000", "-w", "1"]
        inside = f"/work/{model.relative_to(self._work)}"
        order = {
            "source": _GUNICORN,
            "arguments": ["-c", *options, "-b", f"0.0.0.0:{port}", self._environment["SAGEMAKER_SERVING_MODULE"]],
            "environment": {**self._environment, **environment, "SM_MODEL_DIR": inside},
            "streams": [os.devnull, *(f"/work/{path.relative_to(self._work)}" for path in streams)],
        }
        return Served(self._container, self._answer, self._answer(order), port, inside, streams)

    def _answer(self, order: dict[str, Any]) -> Any:
        self._orders.write(json.dumps(order) + "\n")
        self._orders.flush()
        line = self._answers.readline()
        assert line, self._container.stderr()
        return json.loads(line)

    def _opened(self) -> tuple[IO[str], IO[str]]:
        """The pipes, once the container's process has opened them too."""
        pipes: list[IO[str]] = []

        def opened() -> None:
            pipes.append((self._work / "orders").open("w"))
            pipes.append((self._work / "answers").open())

        thread = threading.Thread(target=opened, daemon=True)
        thread.start()
        thread.join(_START_SECONDS)
        assert not thread.is_alive(), self._container.stderr()
        return pipes[0], pipes[1]


class OneContainer(PatientEngine):
    """Instead of a container it gives a fork of `process`: for each `train`, which has ended when it is asked for, and
    for each `serve` of models that load. All other containers are started.

    The folders of jobs and models lie below `work`.
    """

    def __init__(self, engine: Engine, process: BaseProcess) -> None:
        super().__init__(engine._client)
        self._process = process

    @contextmanager
    def container(self, run: Run) -> Iterator[Container]:
        if run.command == ("train",):
            yield self._trained(run)
        elif (
            run.command == ("serve",)
            and _FOLDER in (model := {m.target: m.source for m in run.mounts})
            and model[_FOLDER].name != _UNLOADABLE
        ):
            yield self._process.start(model[_FOLDER], run.environment)
        else:
            with super().container(run) as container:
                yield container

    def _trained(self, run: Run) -> Container:
        (ml,) = (mount.source for mount in run.mounts if mount.target == "/opt/ml")
        for mount in run.mounts:
            if mount.source != ml:  # inside, the folder is elsewhere: its place beside the job's is the same
                (ml / mount.target.rpartition("/")[2]).symlink_to(os.path.relpath(mount.source, ml))
        return Ended(self._process.run("train", ml=ml, environment=run.environment))


class Served(Container):
    """An application in the container of a `BaseProcess`."""

    def __init__(
        self, container: Container, answer: Callable[[dict[str, Any]], Any], pid: int, port: int, folder: str,
        streams: Sequence[Path],
    ) -> None:  # fmt: skip
        self._container = container
        self._answer = answer
        self._pid = pid
        self.port = port
        self._folder = folder
        self._streams = streams
        self._code: int | None = None

    def address(self, port: int) -> str:
        return self._container.address(self.port)

    @property
    def running(self) -> bool:
        if self._code is None:
            self._code = self._answer({"poll": self._pid})
        return self._code is None

    def wait(self, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        while self.running:
            if time.monotonic() > deadline:
                raise EngineError(f"the application did not end within {timeout:g} s")
            time.sleep(0.02)
        assert self._code is not None
        return self._code

    def stdout(self) -> str:
        return self._streams[0].read_text()

    def stderr(self) -> str:
        return self._streams[1].read_text()

    def execute(self, command: list[str]) -> tuple[int, bytes]:
        return self._container.execute([self._folder if word == _FOLDER else word for word in command])


class Ended(Container):
    """What is left of a job."""

    def __init__(self, completed: Completed) -> None:
        self._completed = completed

    def wait(self, timeout: float) -> int:
        return self._completed.exit_code

    def stdout(self) -> str:
        return self._completed.stdout

    def stderr(self) -> str:
        return self._completed.stderr


@contextmanager
def base_process(engine: Engine, image: str, work: Path) -> Iterator[BaseProcess]:
    """One for `image`, with a folder that it may fill; it ends with the block."""
    for name in ("orders", "answers"):
        os.mkfifo(work / name)
    local = engine.image(image)
    assert local is not None
    mounts = (Mount(_TESTS, "/tests", read_only=True), Mount(work, "/work"))
    with engine.container(Run(image, ("sh", "-c", _SERVER), mounts=mounts, ports=_PORTS)) as container:
        yield BaseProcess(container, {"HOSTNAME": "localhost", "HOME": "/root", **local.environment}, work)
