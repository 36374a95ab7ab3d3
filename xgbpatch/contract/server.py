"""The ways to start `serve`, and a server that answers."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from pathlib import Path

from xgbpatch.contract.http import Answer, Request, send
from xgbpatch.contract.model import Violation
from xgbpatch.engine.client import Container, EngineGoneError
from xgbpatch.engine.types import Mount, Run
from xgbpatch.errors import EngineError

_ATTEMPTS = 8
_BAD_GATEWAY = 502


def settled(server: Server, request: Request) -> Answer:
    """gunicorn refuses a large body unread and closes; where nginx still writes at that moment it says 502 instead.

    Such an answer is asked for again; a server that never says anything else keeps its 502.
    """
    for _ in range(_ATTEMPTS):
        answer = server.ask(request)
        if answer.status != _BAD_GATEWAY:
            break
    return answer


# A running `serve`: how it is started, when it is ready, and how it is asked.


PORT = 8080  # where nothing asks for another
_POLL_SECONDS = (0.1, 1.0)  # from, to: a twentieth of the time that has passed, because a poll costs CPU too
_ONE_WORKER = ("SAGEMAKER_MODEL_SERVER_WORKERS", "1")  # where concurrency is not what is checked: half the start


class Models(Enum):
    """What lies in a model folder: one model, several, a file beside it, or no model at all."""

    ABALONE = "abalone"  # one regression model
    NAMED = "named"  # the same, with the names of its features beside it
    MEAN = "mean"  # two regression models
    VOTES = "votes"  # three models that say 0 or 1
    COUNTS = "counts"  # one model of counts
    LOGISTIC = "logistic"  # one binary model, with background rows beside it
    NEWER = "newer"  # one regression model, and beside it a record that a newer xgboost made it
    PICKLE = "pickle"  # a pickle that runs code where it is loaded


@dataclass(frozen=True)
class Stack:
    """One way to start `serve`, and what is mounted as its model: the user's own takes the place of ABALONE.

    `second` is what a check may put into a second folder of a multi-model server, which is empty when that starts.
    """

    name: str
    environment: tuple[tuple[str, str], ...] = ()
    port: int = PORT
    models: Models = Models.ABALONE
    multi_model: bool = False
    second: Models | None = None

    @property
    def foreign(self) -> bool:
        """Whether it serves a model of the user's."""
        return self.models is Models.ABALONE

    @property
    def folder(self) -> str:
        """The model directory inside the container."""
        return f"/opt/ml/models/{MODEL_FOLDER}/model" if self.multi_model else "/opt/ml/model"

    def run(self, image: str, models: Path, second: Path | None = None) -> Run:
        """The container as SageMaker starts it; `models` becomes the read-only model directory, `second` another."""
        folders = {self.folder: models, **({SECOND_FOLDER: second} if second else {})}
        mounts = tuple(Mount(source, target, read_only=True) for target, source in folders.items())
        ports = tuple({self.port, PORT})
        return Run(image, ("serve",), environment=dict(self.environment), mounts=mounts, ports=ports)


def one_worker(name: str, *environment: tuple[str, str]) -> Stack:
    """A stack with a single gunicorn worker."""
    return Stack(name, (_ONE_WORKER, *environment))


MODEL_FOLDER = "0f5a4dbb1d8e"  # SageMaker names the folder of a loaded model by a hash
SECOND_NAME = "7c21e9b04ad3"
SECOND_FOLDER = f"/opt/ml/models/{SECOND_NAME}/model"
PAYLOAD_MEGABYTES = 8
SMALL_LIMIT = 2**16  # bytes

PLAIN = Stack("plain")
SELECTABLE = one_worker("selectable", ("SAGEMAKER_INFERENCE_OUTPUT", "predicted_score,raw_score"))
COUNTS = replace(SELECTABLE, name="counts", models=Models.COUNTS)


# One key, because protobuf writes several in random order; a limit that fits a socket's buffer, so that 413 is certain.
SELECTED = one_worker(
    "selected", ("SAGEMAKER_INFERENCE_OUTPUT", "predicted_score"), ("MAX_CONTENT_LENGTH", str(SMALL_LIMIT))
)
_OTHER_PORT = 9090
BATCH = replace(  # of a pipeline of containers, each of which has a port
    one_worker(
        "batch",
        ("SAGEMAKER_BATCH", "true"),
        ("MAX_CONTENT_LENGTH", str(PAYLOAD_MEGABYTES * 2**20)),
        ("SAGEMAKER_BIND_TO_PORT", str(_OTHER_PORT)),
    ),
    port=_OTHER_PORT,
)
ENSEMBLE = replace(one_worker("ensemble"), models=Models.MEAN)
VOTES = replace(one_worker("votes"), models=Models.VOTES)
NEWER = replace(one_worker("newer"), models=Models.NEWER)
UNLOADABLE = replace(one_worker("unloadable"), models=Models.PICKLE)
MULTI_MODEL = Stack("multi-model", (("SAGEMAKER_MULTI_MODEL", "true"),), multi_model=True, second=Models.VOTES)
SHAP_LIMIT = 2**18  # bytes of an explained response: one that is above it is not dear to make
SHAP_SELECTION = ("predicted_score", "base_value", "shap_values", "shap_interactions", "shap_top_k")
_APPEND = ("XGBPATCH_SHAP_LAYOUT", "append")
SHAP = one_worker("shap", _APPEND)
SHAP_BATCH = one_worker("shap-batch", _APPEND, ("SAGEMAKER_BATCH", "true"))
SHAP_MULTI_MODEL = Stack("shap-multi-model", (*MULTI_MODEL.environment, _APPEND), multi_model=True)
SHAP_SELECTED = replace(
    one_worker(
        "shap-selected",
        ("SAGEMAKER_INFERENCE_OUTPUT", ",".join(SHAP_SELECTION)),
        ("XGBPATCH_SHAP_MEGABYTES", str(SHAP_LIMIT / 2**20)),
    ),
    models=Models.NAMED,
)
SHAP_PROBABILITY = replace(
    one_worker("shap-probability", _APPEND, ("XGBPATCH_SHAP_SPACE", "probability")), models=Models.LOGISTIC
)
JSON_NAMED = replace(one_worker("json-named", ("SAGEMAKER_BATCH", "true")), models=Models.NAMED)
DAAL4PY = one_worker("daal4py", ("XGBPATCH_ENGINE", "daal4py"))  # not `auto`, which times the engines and then chooses
BOOSTER = one_worker("booster", ("XGBPATCH_ENGINE", "booster"))


@dataclass
class Server:
    """A started container; `cold_start` is the time in seconds to the first 200 of /ping, None before it."""

    container: Container
    stack: Stack
    begun: float = field(default_factory=time.monotonic)
    cold_start: float | None = None

    @cached_property
    def address(self) -> str:
        return self.container.address(self.stack.port)

    def wait(self, limit: float) -> None:
        """Block until /ping answers 200; raises `Violation` when it ended or is not ready `limit` seconds on."""
        while self.cold_start is None:
            status = self._ping(self.stack.port)
            # The port of a container that ended may be another's; a 502 is nginx, which waits for its server.
            if status in (0, 200) and not self.container.running:
                code = self.container.wait(5)
                raise Violation(f"`serve` ({self.stack.name}) ended with exit code {code} before /ping answered")
            if status == 200:
                self.cold_start = time.monotonic() - self.begun
            elif not status and self.stack.port != PORT and self._ping(PORT) == 200:
                raise Violation(f"`serve` ({self.stack.name}) answers on port {PORT}, not on {self.stack.port}")
            elif time.monotonic() - self.begun > limit:
                last = f"last status {status}" if status else "no answer"
                raise Violation(f"`serve` ({self.stack.name}) not ready within {limit:g} s: {last}")
            else:
                self._pause()

    def end(self, limit: float) -> int:
        """Block until it ends by itself; raises `Violation` where it is ready instead, or runs for `limit` seconds."""
        while self.container.running:
            if self._ping(self.stack.port) == 200:
                raise Violation(f"`serve` ({self.stack.name}) is ready, and its model should not have been loaded")
            if time.monotonic() - self.begun > limit:
                raise Violation(f"`serve` ({self.stack.name}) still runs after {limit:g} s, without an answer to /ping")
            self._pause()
        return self.container.wait(5)

    def ask(self, request: Request) -> Answer:
        return send(self.address, request)

    def _pause(self) -> None:
        shortest, longest = _POLL_SECONDS
        time.sleep(min(longest, max(shortest, (time.monotonic() - self.begun) / 20)))

    def _ping(self, port: int) -> int:
        try:
            address = self.address if port == self.stack.port else self.container.address(port)
            return send(address, Request(path="/ping")).status
        except EngineGoneError:
            raise
        except (Violation, EngineError):  # its port goes with a container that ends
            return 0
