"""The run: servers of all images side by side, asked by turns, their answers checked, their processor time counted."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from xgbpatch.bench import cases as measured
from xgbpatch.bench import load
from xgbpatch.bench import models as recipes
from xgbpatch.bench.cases import MULTI_MODEL, SINGLE, Case
from xgbpatch.bench.load import Load
from xgbpatch.cache import sha256_of
from xgbpatch.contract.checks.multi_model import load_request
from xgbpatch.contract.http import Answer, Request, send
from xgbpatch.contract.model import Violation
from xgbpatch.contract.server import Server
from xgbpatch.contract.session import workspace
from xgbpatch.engine.client import Container, Engine
from xgbpatch.engine.types import LocalImage, Mount, Run
from xgbpatch.errors import ContractError, EngineError
from xgbpatch.progress import Progress

EXPLAINS_LABEL = "io.xgbpatch.bench.explains"  # of a peer: its answers hold SHAP values
_TRAIN_SECONDS = 1800
_NEAR = 1e-4
_PYTHON = 'for p in python3 python; do command -v $p >/dev/null && exec $p "$@"; done; echo no python on PATH; exit 1'
_PEAKS = (
    "for p in /proc/[0-9]*; do"
    " echo \"$(grep VmHWM $p/status | tr -dc 0-9) $(tr '\\0' ' ' <$p/cmdline)\"; done 2>/dev/null"
)


@dataclass(frozen=True)
class Subject:
    """An image that takes part. `explains`: it can answer with SHAP values; `peer`: it is none of the base's kind."""

    name: str
    image: LocalImage
    explains: bool = False
    peer: bool = False


@dataclass(frozen=True)
class Pace:
    """How long a turn is, how many there are, and how many clients ask at once."""

    rounds: int = 5
    seconds: float = 2.0
    clients: int = 4
    workers: int = 1
    ready: float = 600.0


@dataclass
class Figures:
    """A subject's turns in one case. `refused`: why there are none; `peak`: the largest worker's memory in bytes."""

    loads: list[Load] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # seconds a request, of the whole container
    opened: list[Load] = field(default_factory=list)
    peak: int = 0
    refused: str = ""

    @property
    def wrong(self) -> int:
        return sum(each.wrong for each in (*self.loads, *self.opened))

    @property
    def rate(self) -> float:
        return median(each.rate for each in self.loads)


@dataclass(frozen=True)
class Result:
    """A case and what each subject did, by name; the first is the one that the others are compared with."""

    case: Case
    figures: Mapping[str, Figures]


def models(engine: Engine, maker: LocalImage, names: Sequence[str], root: Path, progress: Progress) -> dict[str, Path]:
    """Folders of the models, trained by the xgboost of `maker` in a container without a network; below `root`."""
    script = Path(recipes.__file__)
    folder = root / f"{maker.id.rpartition(':')[2][:12]}-{sha256_of(script)[:12]}"
    missing = [name for name in names if not (folder / name).is_dir()]
    if missing:
        progress.line(f"Training the models {', '.join(missing)}; they are kept for the next run")
        with workspace(engine, maker.id) as directory:
            mounts = (Mount(script, "/models.py", read_only=True), Mount(directory, "/made"))
            command = ("-c", _PYTHON, "-", "/models.py", "/made", *missing)
            run = Run(
                maker.id, command, entrypoint=("/bin/sh",), environment={"OMP_NUM_THREADS": "1"}, mounts=mounts,
                network="none",
            )  # fmt: skip
            failure = f'"{next(iter(maker.tags), maker.id)}" could not train the models'
            try:
                result = engine.run(run, _TRAIN_SECONDS)
            except EngineError as error:  # such as an image without a shell
                raise EngineError(f"{failure}: {error.message}", error.next_step) from error
            if result.exit_code:
                raise ContractError(f"{failure}: {(result.stdout + result.stderr).strip()[-500:]}")
            for name in missing:
                part = folder / f"{name}.{os.getpid()}.part"  # a model of that name is whole, whatever ends this
                shutil.copytree(directory / name, part, dirs_exist_ok=True)
                with suppress(OSError):  # another run made it
                    part.rename(folder / name)
                shutil.rmtree(part, ignore_errors=True)
    return {name: folder / name for name in names}


def run(
    engine: Engine,
    subjects: Sequence[Subject],
    cases: Sequence[Case],
    folders: Mapping[str, Path],
    pace: Pace,
    progress: Progress,
) -> Iterator[Result]:
    """Each case once it is measured. Servers run for the cases of one mode and model, and end with them.

    The first of `subjects` is what the others are compared with; its plain answers are what theirs have to be, byte for
    byte, where it is no peer.
    """  # fmt: skip
    done = 0
    for mode, model in dict.fromkeys((case.mode, case.model) for case in cases):
        chosen = [case for case in cases if (case.mode, case.model) == (mode, model)]
        progress.line(f"Starting the servers of {mode}, {model}")
        with _serving(engine, subjects, chosen, folders[model], pace) as servers:
            for case in chosen:
                progress.line(f"[{done + 1}/{len(cases)}] {case}")
                yield Result(case, _measured(subjects, servers, case, pace))
                done += 1
                progress.update("cases", done, len(cases))


Servers = Mapping[tuple[str, bool], Server | str]


@contextmanager
def _serving(
    engine: Engine, subjects: Sequence[Subject], cases: Sequence[Case], folder: Path, pace: Pace
) -> Iterator[Servers]:
    """A ready server a subject, and one that explains, as `cases` of one mode need them; why not, where one fails."""
    mode = cases[0].mode
    with ExitStack() as exits:
        servers: dict[tuple[str, bool], Server | str] = {}
        for subject in subjects:
            if subject.peer and mode != SINGLE:
                continue
            own = subject.explains and not subject.peer
            for way in sorted({case.explained and own for case in cases}):
                stack = measured.stack(mode, way, pace.workers)
                container = exits.enter_context(engine.container(stack.run(subject.image.id, folder)))
                servers[subject.name, way] = Server(container, stack)
        for key, server in list(servers.items()):  # which start all at once
            assert isinstance(server, Server)
            try:
                server.wait(pace.ready)
                if mode == MULTI_MODEL:
                    answer = server.ask(load_request(measured.NAME, measured.MODEL_URL))
                    if answer.status != 200:
                        raise Violation(f"POST /models answered {answer}")
            except Violation as reason:
                servers[key] = str(reason)
        yield servers


def _measured(subjects: Sequence[Subject], servers: Servers, case: Case, pace: Pace) -> dict[str, Figures]:
    body = measured.body(case)
    figures: dict[str, Figures] = {}
    measurable: dict[str, tuple[Server, bytes, float]] = {}
    expected: list[bytes] | None = None
    for position, subject in enumerate(subjects):
        explains = case.explained and subject.explains
        if (case.explained and position and not explains) or (subject.peer and subject.explains != case.explained):
            continue  # a peer always explains, or never
        server = servers.get((subject.name, explains and not subject.peer))
        if server is None:
            continue
        figures[subject.name] = Figures()
        if isinstance(server, str):
            figures[subject.name].refused = server
            continue
        answer, seconds = _first(server, case, body)
        predictions = measured.predictions(answer.body, explains) if answer.status == 200 else []
        if answer.status != 200:
            figures[subject.name].refused = str(answer)
        elif len(predictions) != case.rows_each:
            figures[subject.name].refused = f"{len(predictions)} predictions for {case.rows_each} records"
        elif expected is not None and not (near(predictions, expected) if subject.peer else predictions == expected):
            figures[subject.name].refused = "other predictions than the base's"
        else:
            measurable[subject.name] = (server, answer.body, seconds)
        if position == 0 and predictions:
            expected = predictions
    _turns(figures, measurable, case, body, pace)
    return figures


def near(predictions: Sequence[bytes], expected: Sequence[bytes]) -> bool:
    """Whether a peer, whose text and last bits are its own, predicts the same."""
    try:
        pairs = [(float(one), float(other)) for one, other in zip(predictions, expected, strict=True)]
    except ValueError:
        return False
    return all(abs(one - other) <= _NEAR * max(1.0, abs(other)) for one, other in pairs)


def _first(server: Server, case: Case, body: bytes) -> tuple[Answer, float]:
    """The second of two answers (the first may be slower), and the seconds that it took."""
    headers = tuple(load.HEADERS.items())
    try:
        send(server.address, Request("POST", case.path, headers, body))
        begun = time.monotonic()
        return send(server.address, Request("POST", case.path, headers, body)), time.monotonic() - begun
    except Violation as reason:
        return Answer(0, {}, str(reason).encode()), 0.0


def _turns(
    figures: Mapping[str, Figures],
    measurable: Mapping[str, tuple[Server, bytes, float]],
    case: Case,
    body: bytes,
    pace: Pace,
) -> None:
    clients = 1 if case.mode == measured.BATCH else pace.clients
    wrk = load.client_of(max((one for _, _, one in measurable.values()), default=0.0))
    urls = {name: f"http://{_nearest(server)}{case.path}" for name, (server, _, _) in measurable.items()}
    for number in range(pace.rounds):
        for name in list(measurable)[:: -1 if number % 2 else 1]:
            server, expected, one = measurable[name]
            url = urls[name]
            before = server.container.cpu_seconds()
            if case.payloads > 1:
                turn = load.job(url, body, expected, case.payloads)
            else:
                turn = load.closed(url, body, expected, clients, pace.seconds, one, wrk)
            used = server.container.cpu_seconds() - before
            figures[name].loads.append(turn)
            figures[name].cpu.append(used / max(1, turn.requests + turn.wrong))
    if case.mode == SINGLE and measurable:
        rate = min(figures[name].rate for name in measurable) / 2
        for name, (_, expected, _) in measurable.items() if rate > 0 else ():
            figures[name].opened.append(load.opened(urls[name], body, expected, rate, pace.seconds))
    for name, (server, _, _) in measurable.items():
        figures[name].peak = peak(server.container)


def _nearest(server: Server) -> str:
    """Where the server is asked: in the container's own network, where this machine is in it.

    The engine's proxy for published ports takes processor time of the server's, and lets some connections wait.
    """
    address = server.container.inner_address(server.stack.port)
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except (OSError, ValueError):
        return server.address
    return address


def peak(container: Container) -> int:
    """The most memory in bytes that one of the container's processes had resident; Java's is the model server's own."""
    code, output = container.execute(["/bin/sh", "-c", _PEAKS])
    lines = [line.split(" ", 1) for line in output.decode("utf-8", "replace").splitlines()]
    sizes = [int(size) for size, command in (line for line in lines if len(line) == 2)
             if size.isdigit() and not command.startswith(("java", "/usr/bin/java", "/bin/sh"))]  # fmt: skip
    return 1024 * max(sizes, default=0) if code == 0 else 0
