"""Bad input, load and the end: a server with SHAP values and oneDAL switched on stands what its base stands."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest

from support.differential import stage
from support.differential.comparing import ADDED, bared
from support.differential.stage import Part, Player, Scene, Zoo
from support.load import raw
from support.load.endurance import csv, endure
from support.load.traffic import Exchange, Traffic, post
from xgbpatch.contract.http import Request, difference
from xgbpatch.engine.types import Mount, Run

pytestmark = pytest.mark.timeout(900)

ON = {"XGBPATCH_SHAP_LAYOUT": "append", "XGBPATCH_ENGINE": "daal4py"}
MODEL = "hundred-trees"
LIMIT = 21 * 2**20
WORKERS = {"SAGEMAKER_MODEL_SERVER_WORKERS": "2", "MAX_CONTENT_LENGTH": str(LIMIT)}
SECONDS, CLIENTS = 15, 50  # scripts/load asks 200 clients for 150 s
SLOW = {"base": 30_000, "on": 4_000}  # records that take a worker about as long
GARBAGE = {"noise": lambda model: bytes(range(256)) * 40, "half": lambda model: model[: len(model) // 2]}


@pytest.fixture(scope="module")
def zoo(engine, version, base_of, tmp_path_factory) -> Zoo:
    return stage.trained(engine, base_of(version), tmp_path_factory.mktemp("zoo"), (MODEL,))


@pytest.fixture(scope="module")
def parts(version, base_of, patched) -> dict[str, Part]:
    return {"base": Part(base_of(version)), "on": Part(str(patched(version, "shap", "daal4py").image.id), ON)}


@pytest.fixture(scope="module")
def players(engine, zoo, parts):
    with stage.played(engine, Scene("load", (MODEL,), WORKERS), zoo, parts) as started:
        yield started


@pytest.mark.parametrize("name", raw.REQUESTS)
def test_broken_requests_end_as_at_the_base(players, name):
    said = raw.settled({part: player.address for part, player in players.items()}, name)
    assert said["base"] or name in raw.UNFINISHED
    if said["base"].startswith(b"HTTP/1.1 200"):
        head, _, body = said["base"].rstrip().partition(b"\r\n\r\n")
        assert said["on"].startswith(head.partition(b"\r\n")[0])
        assert said["on"].partition(b"\r\n\r\n")[2].startswith(body + b",")
    else:
        assert said["on"] == said["base"]
    assert {player.ask(Request(path="/ping")).status for player in players.values()} == {200}


@pytest.mark.parametrize("cell", ["nan", "inf", "-inf", "1e39", "1e400", "-0.0", "1e-46"])
@pytest.mark.parametrize("form", ["csv", "libsvm"])
def test_extreme_numbers_are_answered_as_at_the_base(players, form, cell):
    body = ",".join([cell, *"12345"]) if form == "csv" else f"0 0:{cell} 1:1 5:5"
    request = Request("POST", "/invocations", (("Content-Type", f"text/{form}"),), body.encode())
    base, ours = players["base"].ask(request), players["on"].ask(request)
    assert not difference(base, bared(base, ours)[0] if base.status == ours.status == 200 else ours, ADDED)


def test_a_body_of_20_mb_is_answered_as_at_the_base(players):
    line = b",".join(b"%d.%0250d" % (number, number) for number in range(6))
    body = b"\n".join([line] * (20 * 2**20 // (len(line) + 1)))
    request = Request("POST", "/invocations", (("Content-Type", "text/csv"),), body)
    base, ours = players["base"].ask(request), players["on"].ask(request)
    assert base.status == 200, base
    bare, numbers = bared(base, ours)
    assert not difference(base, bare, ADDED)
    assert numbers.shape == (body.count(b"\n") + 1, 7)


def test_a_body_above_the_limit_is_refused_as_at_the_base(players):
    request = Request("POST", "/invocations", (("Content-Type", "text/csv"),), b"1" * (LIMIT + 1))
    statuses = {part: {player.ask(request).status for _ in range(3)} for part, player in players.items()}
    assert all(found <= {413, 502, 0} for found in statuses.values()), statuses  # the races of gunicorn and nginx


def test_many_clients_get_their_own_answers_and_memory_stays(players):
    endured = endure(players["on"], "/invocations", CLIENTS, SECONDS)
    print(endured)
    assert endured.passed, endured
    assert endured.record.kinds["200"] > CLIENTS


def test_sigterm_lets_requests_in_flight_finish(engine, zoo, parts):
    """The base is stopped under the same traffic: no request may end in a way that none ended there.

    As many clients as workers: what waits in gunicorn's socket when it closes gets nginx's 502, in the base too.
    """
    ends = {name: terminated(engine, zoo, {name: part}) for name, part in parts.items()}
    print(ends)
    assert all(found.total() for found in ends.values())
    assert set(ends["on"]) <= {"200", *ends["base"]}


def terminated(engine, zoo: Zoo, part: dict[str, Part]) -> Counter[str]:
    """The ends of the requests that were with a worker when SIGTERM came: sent half an answer's time before it.

    On a busy machine a worker accepts late, and what it has not accepted is in gunicorn's socket.
    """
    with stage.played(engine, Scene("stop", (MODEL,), WORKERS), zoo, part) as started:
        ((name, player),) = started.items()
        exchange, seconds = _exchange(player, SLOW[name])
        traffic = Traffic(player.address, [exchange], int(WORKERS["SAGEMAKER_MODEL_SERVER_WORKERS"]))
        thread = threading.Thread(target=traffic.run, args=(300,))
        thread.start()
        end = time.monotonic() + 300
        while not traffic.waiting(seconds / 2) and time.monotonic() < end:
            time.sleep(0.01)
        moment = time.monotonic()
        assert player.container.stop("SIGTERM", 120) is not None, "still running"
        traffic.stop()
        thread.join(120)
        return Counter(each.kind for each in traffic.record.in_flight(moment, seconds / 2))


def _exchange(player: Player, rows: int) -> tuple[Exchange, float]:
    """What is asked and must come back, and the seconds that it took."""
    body = csv(rows, seed=rows)
    request = Request("POST", "/invocations", (("Content-Type", "text/csv"), ("Accept", "text/csv")), body)
    assert player.ask(request).status == 200  # the first is slower
    begun = time.monotonic()
    answer = player.ask(request)
    seconds = time.monotonic() - begun
    assert answer.status == 200, answer
    return Exchange(post("/invocations", body), answer.body), seconds


@pytest.mark.parametrize("kind", GARBAGE)
def test_a_model_file_that_is_garbage_ends_both_servers_alike(engine, zoo, parts, tmp_path, kind):
    model = (zoo.folder / MODEL / "xgboost-model").read_bytes()
    (tmp_path / "xgboost-model").write_bytes(GARBAGE[kind](model))
    ends = {name: end_of(engine, part, tmp_path) for name, part in parts.items()}
    assert ends["on"] == ends["base"]


def end_of(engine, part: Part, folder) -> tuple[int, bool]:
    """(exit code, whether a worker failed to boot) of a server on that model directory."""
    mounts = (Mount(folder, "/opt/ml/model", read_only=True),)
    environment = {"SAGEMAKER_MODEL_SERVER_WORKERS": "1", **part.environment}
    with engine.container(Run(part.image, ("serve",), environment=environment, mounts=mounts)) as container:
        code = container.wait(300)
        return code, "Worker failed to boot" in container.stdout() + container.stderr()
