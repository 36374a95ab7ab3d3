"""A running `serve`: how it is started, when it is ready, and how it is asked."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from xgbpatch.contract.exchange import Answer, Request, send
from xgbpatch.contract.finding import Violation
from xgbpatch.engine.container import Container
from xgbpatch.engine.failures import EngineGoneError
from xgbpatch.engine.values import Mount, Run
from xgbpatch.errors import EngineError

_POLL_SECONDS = 0.1
_ONE_WORKER = ("SAGEMAKER_MODEL_SERVER_WORKERS", "1")  # where concurrency is not what is checked: half the start


@dataclass(frozen=True)
class Stack:
    """One way to start `serve`. `abalone` models are mounted, or the user's own where `foreign` allows it."""

    name: str
    environment: tuple[tuple[str, str], ...] = ()
    port: int = 8080
    members: int = 1
    multi_model: bool = False
    foreign: bool = True

    @property
    def folder(self) -> str:
        """The model directory inside the container."""
        return f"/opt/ml/models/{MODEL_FOLDER}/model" if self.multi_model else "/opt/ml/model"

    def run(self, image: str, models: Path) -> Run:
        """The container as SageMaker starts it; `models` becomes the read-only model directory."""
        mounts = (Mount(models, self.folder, read_only=True),)
        return Run(image, ("serve",), environment=dict(self.environment), mounts=mounts, ports=(self.port,))


def one_worker(name: str, *environment: tuple[str, str]) -> Stack:
    """A stack with a single gunicorn worker."""
    return Stack(name, (_ONE_WORKER, *environment))


MODEL_FOLDER = "0f5a4dbb1d8e"  # SageMaker names the folder of a loaded model by a hash
PAYLOAD_MEGABYTES = 8
SMALL_LIMIT = 2**16  # bytes

PLAIN = Stack("plain")
SELECTABLE = one_worker("selectable", ("SAGEMAKER_INFERENCE_OUTPUT", "predicted_score,raw_score"))
# One key, because protobuf writes several in random order; a limit that fits a socket's buffer, so that 413 is certain.
SELECTED = one_worker(
    "selected", ("SAGEMAKER_INFERENCE_OUTPUT", "predicted_score"), ("MAX_CONTENT_LENGTH", str(SMALL_LIMIT))
)
BOUND = replace(one_worker("bind-port", ("SAGEMAKER_BIND_TO_PORT", "9090")), port=9090)
BATCH = one_worker("batch", ("SAGEMAKER_BATCH", "true"), ("MAX_CONTENT_LENGTH", str(PAYLOAD_MEGABYTES * 2**20)))
ENSEMBLE = replace(one_worker("ensemble"), members=2, foreign=False)
MULTI_MODEL = Stack("multi-model", (("SAGEMAKER_MULTI_MODEL", "true"),), multi_model=True)
_APPEND = ("XGBPATCH_SHAP_LAYOUT", "append")
SHAP = one_worker("shap", _APPEND)
SHAP_BATCH = one_worker("shap-batch", _APPEND, ("SAGEMAKER_BATCH", "true"))
SHAP_MULTI_MODEL = replace(MULTI_MODEL, name="shap-multi-model", environment=(*MULTI_MODEL.environment, _APPEND))
DAAL4PY = one_worker("daal4py", ("XGBPATCH_ENGINE", "daal4py"))  # not `auto`, which times the engines and then chooses


@dataclass
class Server:
    """A started container; `cold_start` is the time in seconds to the first 200 of /ping, None before it."""

    container: Container
    stack: Stack
    begun: float = field(default_factory=time.monotonic)
    cold_start: float | None = None
    _address: str = ""

    def wait(self, limit: float) -> None:
        """Block until /ping answers 200; raises `Violation` when it ended or is not ready `limit` seconds on."""
        while self.cold_start is None:
            status = self._ping()
            if status == 200:
                self.cold_start = time.monotonic() - self.begun
            elif not self.container.running:
                code = self.container.wait(5)
                raise Violation(f"`serve` ({self.stack.name}) ended with exit code {code} before /ping answered")
            elif time.monotonic() - self.begun > limit:
                last = f"last status {status}" if status else "no answer"
                raise Violation(f"`serve` ({self.stack.name}) not ready within {limit:g} s: {last}")
            else:
                time.sleep(_POLL_SECONDS)

    def ask(self, request: Request) -> Answer:
        return send(self._where(), request)

    def _ping(self) -> int:
        try:
            return send(self._where(), Request(path="/ping")).status if self.container.running else 0
        except EngineGoneError:
            raise
        except (Violation, EngineError):  # its port goes with a container that ends
            return 0

    def _where(self) -> str:
        self._address = self._address or self.container.address(self.stack.port)
        return self._address
