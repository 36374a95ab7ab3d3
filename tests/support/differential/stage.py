"""A base and images patched from it, serving the same models side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.differential import wire
from xgbpatch.contract.http import Answer, Request
from xgbpatch.contract.server import Server, Stack
from xgbpatch.engine.client import Container, Engine
from xgbpatch.engine.types import Mount, Run

READY_SECONDS = 240
MODELS = "/opt/ml/models/zoo"
ORACLE = Path(__file__).with_name("oracle.py")
ZOO = Path(__file__).parent.parent / "overlays" / "zoo.py"
_LOG_CHARACTERS = 8000
_ONE_WORKER = {"SAGEMAKER_MODEL_SERVER_WORKERS": "1"}


@dataclass(frozen=True)
class Zoo:
    """Model directories under `folder`, and what zoo.json says of each."""

    folder: Path
    models: Mapping[str, Mapping[str, object]]


@dataclass(frozen=True)
class Scene:
    """What is served and how: one model, or several by a multi-model server; `environment` is all servers'.

    `share` is its part of the budget of requests; `parts` are held against the base.
    """

    name: str
    models: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    multi_model: bool = False
    share: float = 0.0
    parts: tuple[str, ...] = ("off", "append")

    def run(self, image: str, zoo: Zoo, extra: Mapping[str, str]) -> Run:
        """A server of `image` with `extra` variables."""
        source, target = (zoo.folder, MODELS) if self.multi_model else (zoo.folder / self.models[0], "/opt/ml/model")
        kind = {"SAGEMAKER_MULTI_MODEL": "true"} if self.multi_model else _ONE_WORKER
        mounts = (Mount(source, target, read_only=True),)
        return Run(image, ("serve",), environment={**kind, **self.environment, **extra}, mounts=mounts, ports=(8080,))


@dataclass(frozen=True)
class Part:
    """One server on the stage: its image, and the variables that only it gets."""

    image: str
    environment: Mapping[str, str] = field(default_factory=dict)


class Player:
    """A server that is asked over the wire."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.server = Server(container, Stack("differential"))
        self._address = ""

    @property
    def address(self) -> str:
        self._address = self._address or self.container.address(8080)
        return self._address

    def ask(self, request: Request) -> Answer:
        return wire.send(self.address, request)


@contextmanager
def played(engine: Engine, scene: Scene, zoo: Zoo, parts: Mapping[str, Part]) -> Iterator[dict[str, Player]]:
    """All `parts` of a scene, ready, with the scene's models loaded; started at the same time.

    A failure names the servers that had ended by then, with the end of their logs.
    """
    with ExitStack() as exits:
        players = {
            name: Player(exits.enter_context(engine.container(scene.run(part.image, zoo, part.environment))))
            for name, part in parts.items()
        }
        for player in players.values():
            player.server.wait(READY_SECONDS)
            for model in scene.models if scene.multi_model else ():
                _load(player, model)
        try:
            yield players
        except AssertionError as error:
            ended = [f"{name} {_end_of(player.container)}" for name, player in players.items() if _has_ended(player)]
            if ended:
                raise AssertionError("\n".join([str(error), *ended])) from error
            raise


def _has_ended(player: Player) -> bool:
    return not player.container.running


def _end_of(container: Container) -> str:
    log = (container.stdout() + container.stderr())[-_LOG_CHARACTERS:]
    return f"has ended with exit code {container.wait(5)}:\n{log}"


def _load(player: Player, model: str) -> None:
    document = json.dumps({"model_name": model, "url": f"{MODELS}/{model}"}).encode()
    answer = player.ask(Request("POST", "/models", (("Content-Type", "application/json"),), document))
    assert answer.status == 200, answer


def trained(engine: Engine, image: str, folder: Path, names: tuple[str, ...]) -> Zoo:
    """The models of tests/support/overlays/zoo.py, made by the xgboost of `image`."""
    mounts = (Mount(folder, "/zoo"), Mount(ZOO, "/zoo.py", read_only=True))
    done = engine.run(Run(image, ("python", "-W", "ignore", "/zoo.py", "/zoo", *names), mounts=mounts, network="none"))
    assert done.exit_code == 0, done.stderr
    return Zoo(folder, json.loads((folder / "zoo.json").read_text())["models"])


@contextmanager
def consulted(engine: Engine, image: str, zoo: Zoo) -> Iterator[Player]:
    """oracle.py at work in `image`."""
    mounts = (Mount(zoo.folder, "/zoo", read_only=True), Mount(ORACLE, "/oracle.py", read_only=True))
    command = ("python", "-W", "ignore", "/oracle.py", "/zoo", "8080")
    environment = {"OMP_NUM_THREADS": "1"}
    with engine.container(Run(image, command, environment=environment, mounts=mounts, ports=(8080,))) as container:
        oracle = Player(container)
        oracle.server.wait(READY_SECONDS)
        yield oracle
