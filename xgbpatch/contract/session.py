"""What the checks of one run share: a workspace, models, jobs and running servers."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from xgbpatch.contract import jobs, model, payloads
from xgbpatch.contract.jobs import ABALONE, ABALONE_CSV, COUNTS, K_FOLD, LOGISTIC, NAMES, Job, Trained
from xgbpatch.contract.model import Carried, Options, Violation
from xgbpatch.contract.oracle import Description, Truth, predict
from xgbpatch.contract.payloads import Row
from xgbpatch.contract.server import PLAIN, SECOND_FOLDER, Models, Server, Stack
from xgbpatch.engine.client import Container, Engine, afterwards
from xgbpatch.engine.types import Completed, LocalImage, Mount, Run
from xgbpatch.errors import EngineError
from xgbpatch.inspection.model_archive import FOLDER


@contextmanager
def workspace(engine: Engine, image: str) -> Iterator[Path]:
    """A directory for bind mounts. What root left in it is removed through a container of `image` where need be."""
    directory = Path(tempfile.mkdtemp(prefix="xgbpatch-"))
    directory.chmod(0o755)  # a container whose root is mapped to another user must read it
    with afterwards(lambda: _remove(engine, image, directory)):
        yield directory


def _remove(engine: Engine, image: str, directory: Path) -> None:
    try:
        shutil.rmtree(directory)
    except PermissionError:
        sweep = ("-c", "rm -rf /workspace/* /workspace/.[!.]*")
        engine.run(Run(image, sweep, entrypoint=("/bin/sh",), mounts=(Mount(directory, "/workspace"),)), timeout=60)
        shutil.rmtree(directory)


# The model folders that the servers of one run get, made of what the training jobs left.


BACKGROUND_ROWS = 100
UNPICKLED = "xgbpatch-test-local-unpickled-this-model"


class _Marker:
    """A pickle that prints UNPICKLED where it is loaded."""

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return print, (UNPICKLED,)


def assemble(models: Models, directory: Path, trained: Callable[[Job], Trained]) -> Path:
    """The folder of those models below `directory`, made at the first call; `trained` gives a job that succeeded."""
    if models is Models.ABALONE:
        return trained(ABALONE).model.parent
    folder = empty_folder(models, directory)
    if not any(path.is_file() for path in folder.iterdir()):
        content = _content(models, trained)
        (folder / FOLDER).mkdir(exist_ok=True)
        for name, data in content.items():
            (folder / name).write_bytes(data)
    return folder


def empty_folder(models: Models, directory: Path) -> Path:
    """The folder that `assemble` fills, once those models are needed."""
    folder = directory / f"served-{models.value}"
    folder.mkdir(exist_ok=True)
    return folder


def _content(models: Models, trained: Callable[[Job], Trained]) -> dict[str, bytes]:
    """The files of the folder, by their name in it."""
    match models:
        case Models.MEAN:
            members = [trained(job).model for job in (ABALONE, ABALONE_CSV)]
            return {f"xgboost-model-{number}": path.read_bytes() for number, path in enumerate(members)}
        case Models.VOTES:
            return {path.name: path.read_bytes() for path in sorted(trained(K_FOLD).root.glob("model/xgboost-model-*"))}
        case Models.PICKLE:
            return {"xgboost-model": pickle.dumps(_Marker(), protocol=4)}
        case Models.COUNTS:
            return {"xgboost-model": trained(COUNTS).model.read_bytes()}
        case Models.LOGISTIC:
            beside, data = "background.npy", payloads.npy_float32(background())
        case Models.NAMED:
            beside, data = "feature_names.json", json.dumps(NAMES).encode()
        case _:  # NEWER
            beside, data = "record.json", json.dumps({"xgboost": "99.0.0"}).encode()
    model = trained(LOGISTIC if models is Models.LOGISTIC else ABALONE).model
    return {"xgboost-model": model.read_bytes(), f"{FOLDER}/{beside}": data}


def background() -> Sequence[Sequence[float]]:
    """Rows for interventional SHAP, none of which the checks ask about."""
    return payloads.abalone_rows()[-BACKGROUND_ROWS:]


# What the checks of one run share: the trained models, the running servers, the rows and the booster's truth.


Need = Job | Stack

_SAME = {Models.NAMED: Models.ABALONE}  # the same model


def patient(run: Run, image: LocalImage) -> Run:
    """`run` with threads of OpenMP that do not spin while they wait: beside other work a job of one second took ten.

    What is computed stays the same, and a word of the image's own on it stands.
    """
    name = "OMP_WAIT_POLICY"
    own = {} if name in image.environment else {name: "passive"}
    return replace(run, environment={**own, **run.environment})


class Session:
    """Starts each job and server once, on demand or ahead of it; all of it ends with `opened`."""

    def __init__(self, engine: Engine, image: LocalImage, options: Options) -> None:
        self.engine = engine
        self.image = image
        self.options = options
        self._exits = ExitStack()
        self._directory = Path()
        self._jobs: dict[Job, Container] = {}
        self._trained: dict[Job, Trained] = {}
        self._servers: dict[tuple[str, Stack], tuple[Server, ExitStack]] = {}
        self._truths: dict[Models | None, Truth] = {}
        self._used: dict[str, Container] = {}

    @classmethod
    @contextmanager
    def opened(cls, engine: Engine, image: LocalImage, options: Options) -> Iterator[Session]:
        """A session whose containers and files are gone when the block ends, however it ends."""
        session = cls(engine, image, options)
        with workspace(engine, image.id) as directory, session._exits:
            session._directory = directory
            yield session

    def trained(self, job: Job) -> Trained:
        """The outcome of `job`, which runs once."""
        self._begin(job)
        self._used[f"train.{job.name}"] = self._jobs[job]
        if job not in self._trained:
            self._trained[job] = jobs.finish(self._jobs[job], self._directory / job.name)
        return self._trained[job]

    def server(self, stack: Stack, image: LocalImage | None = None) -> Server:
        """The ready server of `stack`, in the image under test or in another; started once for all checks."""
        server = self._serve(stack, image or self.image)
        self._used[f"serve.{stack.name}{'.base' if image else ''}"] = server.container
        server.wait(self.options.ready)
        return server

    def warm(self, need: Need, image: LocalImage | None = None) -> None:
        """Start what a later check needs and do not wait; that check will find out what went wrong, if anything."""
        with suppress(Violation, EngineError):
            if isinstance(need, Job):
                self._begin(need)
            else:
                self._serve(need, image or self.image)

    def ended(self, stack: Stack) -> Completed:
        """How the server of `stack`, which cannot start, ends; raises `Violation` where it still runs at the limit."""
        server = self._serve(stack, self.image)
        self._used[f"serve.{stack.name}"] = server.container
        code = server.end(self.options.ready)
        return Completed(code, server.container.stdout(), server.container.stderr())

    def retain(self, needs: Collection[Need | None]) -> None:
        """Stop every server that no remaining check needs."""
        for key in [key for key in self._servers if key[1] not in needs]:
            self._servers.pop(key)[1].close()

    def truth(self, stack: Stack, count: int | None = None) -> Truth:
        """What the image's own xgboost predicts with the models that `stack` serves, for all or the first `count` rows.

        Asked once for all rows and all stacks of the same models, because importing xgboost takes seconds.
        """
        key = None if self._own(stack) else _SAME.get(stack.models, stack.models)
        if key not in self._truths:
            rows = () if self._own(stack) else payloads.abalone_rows()
            self._truths[key] = predict(self.server(stack).container, stack.folder, rows)
        return self._truths[key].head(count)

    def second_models(self, stack: Stack) -> Truth:
        """Fill the second folder of the server of `stack`; returns what the image's own xgboost predicts with it."""
        if stack.second is None:
            raise ValueError(f'the server "{stack.name}" has no second folder')
        assemble(stack.second, self._directory, self._succeeded)
        if stack.second not in self._truths:
            self._truths[stack.second] = predict(self.server(stack).container, SECOND_FOLDER, payloads.abalone_rows())
        return self._truths[stack.second]

    def served_files(self, stack: Stack) -> dict[str, bytes]:
        """The model files that `stack` serves, by name."""
        files = sorted(path for path in self._models(stack).iterdir() if path.is_file() and path.name[0] != ".")
        return {path.name: path.read_bytes() for path in files}

    def put_below_second(self, stack: Stack, name: str, files: Mapping[str, bytes]) -> str:
        """A folder of that name in the second one of the server of `stack`; returns where it is in the container.

        No server looks there unless it is told to.
        """
        if stack.second is None:
            raise ValueError(f'the server "{stack.name}" has no second folder')
        folder = empty_folder(stack.second, self._directory) / name
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        return f"{SECOND_FOLDER}/{name}"

    def description(self, stack: Stack) -> Description:
        """The model that `stack` serves, as the image's own xgboost reads it."""
        return self.truth(stack, 0).description

    @cached_property
    def carried(self) -> Carried:
        """The features and fixes of xgbpatch that the image's labels name."""
        return model.read_carried(self.image)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Rows for the served model: abalone's, or invented ones of its width."""
        if self.options.model is None:
            return payloads.abalone_rows()
        started = (stack for image, stack in self._servers if image == self.image.id and stack.foreign)
        return self.truth(next(started, PLAIN)).rows

    def forget_used(self) -> None:
        """Begin a check: containers used from here on are its evidence."""
        self._used.clear()

    def save_logs(self) -> str:
        """Keep the logs of the containers the current check used; returns their paths.

        A disk that is full costs the logs, and not the report of minutes of work.
        """
        name = self.image.tags[0] if self.image.tags else self.image.id
        folder = self.options.logs / re.sub(r"[^\w.-]", "_", name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for used, container in self._used.items():
                (folder / f"{used}.log").write_text(container.stdout() + container.stderr(), encoding="utf-8")
            return ", ".join(str(folder / f"{used}.log") for used in self._used)
        except OSError as error:
            self.options.progress.line(f'the logs could not be kept in "{folder}": {error.strerror or error}')
            return ""

    def _begin(self, job: Job) -> None:
        if job not in self._jobs:
            if job.after:
                self.trained(job.after)
            root = self._directory / job.name
            if not root.exists():
                jobs.prepare(job, root)
            self._jobs[job], _ = self._start(jobs.run(self.image.id, job, root))

    def _serve(self, stack: Stack, image: LocalImage) -> Server:
        key = (image.id, stack)
        if key not in self._servers:
            second = empty_folder(stack.second, self._directory) if stack.second else None
            container, exits = self._start(stack.run(image.id, self._models(stack), second))
            self._servers[key] = Server(container, stack), exits
        return self._servers[key][0]

    def _start(self, run: Run) -> tuple[Container, ExitStack]:
        """A container that ends with the session, or earlier, with the stack beside it."""
        exits = self._exits.enter_context(ExitStack())
        return exits.enter_context(self.engine.container(patient(run, self.image))), exits

    def _own(self, stack: Stack) -> bool:
        """Whether `stack` serves the user's own model."""
        return self.options.model is not None and stack.foreign

    def _models(self, stack: Stack) -> Path:
        if self.options.model and self._own(stack):
            return self.options.model.resolve()
        return assemble(stack.models, self._directory, self._succeeded)

    def _succeeded(self, job: Job) -> Trained:
        outcome = self.trained(job)
        if outcome.exit_code != 0 or not outcome.models:
            raise Violation(f'no model to serve: training job "{job.name}": {outcome.ending}')
        return outcome
