"""A base and images patched from it, serving the same models side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support import ends
from support.differential import wire
from xgbpatch.contract.http import Answer, Request
from xgbpatch.contract.server import Server, Stack
from xgbpatch.engine.client import Container, Engine
from xgbpatch.engine.types import Mount, Run

READY_SECONDS = 240
TRAINED_SECONDS = 900  # all models of the zoo
MODELS = "/opt/ml/models/zoo"
ORACLE = Path(__file__).with_name("oracle.py")
ZOO = Path(__file__).parent.parent / "overlays" / "zoo.py"
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
        kind = {"SAGEMAKER_MULTI_MODEL": "true", **ends.TRAP} if self.multi_model else _ONE_WORKER
        mounts = (Mount(source, target, read_only=True),)
        return Run(image, ("serve",), environment={**kind, **self.environment, **extra}, mounts=mounts, ports=(8080,))

    def cast(self, parts: Mapping[str, Part]) -> dict[str, Part]:
        """The base, and the parts that are held against it."""
        return {name: parts[name] for name in ("base", *self.parts)}


@dataclass(frozen=True)
class Part:
    """One server on the stage: its image, and the variables that only it gets."""

    image: str
    environment: Mapping[str, str] = field(default_factory=dict)


class Player:
    """A server that is asked over the wire; `stopped` where a test has ended it on purpose."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.stopped = False
        self.server = Server(container, Stack("differential"))
        self._address = ""

    @property
    def address(self) -> str:
        self._address = self._address or self.container.address(8080)
        return self._address

    def ask(self, request: Request) -> Answer:
        return wire.send(self.address, request)

    def stop(self, signal: str, grace: float) -> float | None:
        """As `Container.stop`."""
        self.stopped = True
        return self.container.stop(signal, grace)


class Servers:
    """The servers of a scene for several tests; those of a `with` block end with it."""

    def __init__(self, engine: Engine, scene: Scene, zoo: Zoo, parts: Mapping[str, Part]) -> None:
        self._engine = engine
        self._scene = scene
        self._zoo = zoo
        self._parts = parts
        self._exits = ExitStack()
        self._players: dict[str, Player] = {}

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def players(self) -> dict[str, Player]:
        """All parts, ready, with the scene's models loaded; one that a test has stopped is started anew.

        Raises AssertionError where one has ended by itself since.
        """
        for name, player in self._players.items():
            if not player.stopped and (end := ends.end_of(player.container)):
                player.stopped = True  # told once
                raise AssertionError(f"{name} {end}")
        missing = [name for name in self._parts if name not in self._players or self._players[name].stopped]
        for name in missing:  # all at the same time
            run = self._scene.run(self._parts[name].image, self._zoo, self._parts[name].environment)
            self._players[name] = Player(self._exits.enter_context(self._engine.container(run)))
        with ends_named(self._players):
            for player in (self._players[name] for name in missing):
                player.server.wait(READY_SECONDS)
                for model in self._scene.models if self._scene.multi_model else ():
                    load(player, model)
        return dict(self._players)


@contextmanager
def played(engine: Engine, scene: Scene, zoo: Zoo, parts: Mapping[str, Part]) -> Iterator[dict[str, Player]]:
    """The servers of a scene for one test."""
    with Servers(engine, scene, zoo, parts) as servers:
        players = servers.players()
        with ends_named(players):
            yield players


@contextmanager
def ends_named(players: Mapping[str, Player]) -> Iterator[None]:
    """A failure in the block names the servers that had ended by then, and all that is left of them."""
    with ends.told({name: player.container for name, player in players.items() if not player.stopped}):
        yield


def load(player: Player, model: str) -> None:
    answer = wire.send(player.address, load_request(model, model), READY_SECONDS)
    assert answer.status == 200, answer


def load_request(name: str, model: str) -> Request:
    """Load a model of the zoo under that name."""
    document = json.dumps({"model_name": name, "url": f"{MODELS}/{model}"}).encode()
    return Request("POST", "/models", (("Content-Type", "application/json"),), document)


@contextmanager
def consulted(engine: Engine, image: str, folder: Path, names: tuple[str, ...]) -> Iterator[tuple[Zoo, Player]]:
    """The models of tests/support/overlays/zoo.py, made by the xgboost of `image`, and oracle.py at work beside it.

    No `names` are all models. One container does both, and imports xgboost once.
    """
    programs = [Mount(file, f"/oracle/{file.name}", read_only=True) for file in (ORACLE, ZOO)]
    command = ("python", "-W", "ignore", "/oracle/oracle.py", "/zoo", "8080", *names)
    run = Run(
        image, command, environment={"OMP_NUM_THREADS": "1"}, mounts=(Mount(folder, "/zoo"), *programs), ports=(8080,)
    )
    with engine.container(run) as container:
        oracle = Player(container)
        oracle.server.wait(TRAINED_SECONDS)
        yield Zoo(folder, json.loads((folder / "zoo.json").read_text())["models"]), oracle
