"""A base that serves over real HTTP, and the zoo of models that its own XGBoost trained."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import requests

from support import ends
from xgbpatch.engine.client import Container, Engine
from xgbpatch.engine.types import Mount, Run

_START_SECONDS = 120
_ANSWER_SECONDS = 60
_ATTEMPTS = 8
_RACE = 502
_QUICK = {"SAGEMAKER_MODEL_SERVER_WORKERS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


@dataclass(frozen=True)
class Zoo:
    """Model directories under `folder`; `expected[model]` is a list of members, each matrix → predictions."""

    folder: Path
    expected: Mapping[str, list[Mapping[str, list[Any]]]]

    def scores(self, model: str, matrix: str) -> list[Any]:
        """What the only booster of `model` predicts."""
        return self.expected[model][0][matrix]


class Endpoint:
    """A started server. Headers not given are not sent."""

    def __init__(self, address: str) -> None:
        self._url = f"http://{address}"
        self._session = requests.Session()
        self._session.headers.clear()

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> requests.Response:
        """Header names are given as keywords: `content_type="text/csv"`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._session.request(method, self._url + path, data=body, headers=named, timeout=_ANSWER_SECONDS)

    def invoke(self, body: str | bytes, **headers: str) -> requests.Response:
        data = body.encode() if isinstance(body, str) else body
        return self.request("POST", "/invocations", data, **headers)

    def settled(self, body: str | bytes, **headers: str) -> int:
        """The status, past a race of the base's own stack: see `xgbpatch.contract.server.settled`."""
        status = _RACE
        for _ in range(_ATTEMPTS):
            try:
                status = self.invoke(body, **headers).status_code
            except requests.ConnectionError:  # closed while the body was still on its way
                continue
            if status != _RACE:
                break
        return status


def train_zoo(engine: Engine, image: str, folder: Path) -> Zoo:
    """Run serving_zoo.py inside `image`."""
    script = Path(__file__).with_name("serving_zoo.py")
    mounts = (Mount(folder, "/zoo"), Mount(script, "/serving_zoo.py", read_only=True))
    result = engine.run(Run(image, ("python", "/serving_zoo.py", "/zoo"), mounts=mounts, network="none"))
    assert result.exit_code == 0, result.stderr
    return Zoo(folder, json.loads((folder / "expected.json").read_text()))


def run_of(image: str, model: Path, environment: Mapping[str, str]) -> Run:
    """`serve` on one model directory."""
    mounts = (Mount(model, "/opt/ml/model"),)
    return Run(image, ("serve",), environment={**_QUICK, **environment}, mounts=mounts, ports=(8080,))


@contextmanager
def served(engine: Engine, run: Run) -> Iterator[Endpoint]:
    """The endpoint once /ping answers 200; a failure says what is left of a container that has ended by then."""
    trapped = replace(run, environment={**ends.TRAP, **run.environment})
    with engine.container(trapped) as container, ends.told({"the server": container}):
        yield ready(container)


def ready(container: Container, port: int = 8080) -> Endpoint:
    """The server on that port of the container, once /ping answers 200."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and container.running:
        endpoint = Endpoint(container.address(port))
        try:
            if endpoint.request("GET", "/ping").status_code == 200:
                return endpoint
        except requests.exceptions.RequestException:
            pass
        time.sleep(0.2)
    raise AssertionError(f"no healthy answer\n{container.stdout()}{container.stderr()}")
