"""Bad input, load and shutdown: a server with SHAP values and oneDAL bears what its base bears."""

from __future__ import annotations

import threading
import time
from collections import Counter
from operator import itemgetter

import pytest

from support.bases import chosen, dealt
from support.differential.comparing import ADDED, bared
from support.differential.scenes import PAYLOAD_LIMIT
from support.differential.stage import Part, Player
from support.load import raw
from support.load.endurance import csv, endure
from support.load.traffic import Exchange, Traffic, post
from xgbpatch.contract.http import Answer, Request, difference
from xgbpatch.engine.types import Mount, Run

CLIENTS, EACH, SECONDS = 50, 25, 600  # scripts/load asks 200 clients for 150 s
GROWTH = 32_000 * CLIENTS * EACH  # bytes
BUSY_SECONDS = 0.5  # of a worker, which SIGTERM interrupts
NUMBERS = 3 * 7  # a record: three classes, six features and a base value each
GARBAGE = {"noise": lambda model: bytes(range(256)) * 40, "half": lambda model: model[: len(model) // 2]}


@pytest.fixture
def players(native) -> dict[str, Player]:
    """The base and the image with both features on."""
    return {"base": native["base"], "on": native["both"]}


@pytest.mark.parametrize("name", raw.REQUESTS)
def test_broken_requests_end_as_at_the_base(players, name):
    answers = raw.settled({part: player.address for part, player in players.items()}, name)
    assert answers["base"] or name in raw.UNFINISHED
    if name == "length-too-short":  # the base predicts the cells that came, which have no explanation
        assert answers["base"].startswith(b"HTTP/1.1 200")
        assert answers["on"].startswith(b"HTTP/1.1 400")
        assert b"the records have 3 columns, the model has 6" in answers["on"]
    elif answers["base"].startswith(b"HTTP/1.1 200"):
        head, _, body = answers["base"].rstrip().partition(b"\r\n\r\n")
        assert answers["on"].startswith(head.partition(b"\r\n")[0])
        assert answers["on"].partition(b"\r\n\r\n")[2].startswith(body + b",")
    else:
        assert answers["on"] == answers["base"]
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
    assert numbers.shape == (body.count(b"\n") + 1, NUMBERS)


def test_a_body_above_the_limit_is_refused_as_at_the_base(players):
    request = Request("POST", "/invocations", (("Content-Type", "text/csv"),), b"1" * (PAYLOAD_LIMIT + 1))
    statuses = {part: {player.ask(request).status for _ in range(3)} for part, player in players.items()}
    assert all(codes <= {413, 502, 0} for codes in statuses.values()), statuses  # the races of gunicorn and nginx


@pytest.mark.parametrize("version", chosen(), scope="session")
def test_many_clients_get_their_own_answers_and_memory_stays(players):
    endured = endure(players["on"], "/invocations", CLIENTS, seconds=SECONDS, each=EACH)
    print(endured)
    assert endured.passed, endured
    assert endured.record.kinds["200"] == CLIENTS * EACH
    assert endured.growth < GROWTH


@pytest.mark.parametrize(("version", "kind"), dealt(oldest=("half",), newest=("noise",)), scope="session")
def test_a_model_file_that_is_garbage_ends_both_servers_alike(engine, zoo, parts, tmp_path, kind):
    """The base takes that for a good end; test_fixes has the fix."""
    model = next(zoo.folder.glob("softprob/*")).read_bytes()
    (tmp_path / "xgboost-model").write_bytes(GARBAGE[kind](model))
    ends = {name: end_of(engine, part, tmp_path) for name, part in parts.items() if name in ("base", "both")}
    assert ends["base"] == (0, True)
    assert ends["both"] == ends["base"]


def end_of(engine, part: Part, folder) -> tuple[int, bool]:
    """(exit code, whether a worker failed to boot) of a server on that model directory."""
    mounts = (Mount(folder, "/opt/ml/model", read_only=True),)
    environment = {"SAGEMAKER_MODEL_SERVER_WORKERS": "1", **part.environment}
    with engine.container(Run(part.image, ("serve",), environment=environment, mounts=mounts)) as container:
        code = container.wait(300)
        return code, "Worker failed to boot" in container.stdout() + container.stderr()


def test_sigterm_lets_requests_in_flight_finish(players):
    """The base is stopped under the same traffic: no request may end in a way that none ended there.

    As many clients as workers: what waits in gunicorn's socket when it closes gets nginx's 502, in the base too.
    """
    ends = {name: terminated(player) for name, player in players.items()}
    print(ends)
    assert all(counts.total() for counts in ends.values())
    assert set(ends["on"]) <= {"200", *ends["base"]}


def terminated(player: Player) -> Counter[str]:
    """The ends of the requests that were with a worker when SIGTERM came: sent half an answer's time before it.

    On a busy machine a worker accepts late, and what it has not accepted is in gunicorn's socket.
    """
    exchange, seconds = slow_exchange(player)
    print(f"{len(exchange.request)} bytes take {seconds:.2f} s")
    traffic = Traffic(player.address, [exchange], clients=1)
    thread = threading.Thread(target=traffic.run, args=(300,))
    thread.start()
    end = time.monotonic() + 300
    while not traffic.waiting(seconds / 2) and time.monotonic() < end:
        time.sleep(0.01)
    moment = time.monotonic()
    assert player.stop("SIGTERM", 120) is not None, "still running"
    traffic.stop()
    thread.join(120)
    return Counter(each.kind for each in traffic.record.in_flight(moment, seconds / 2))


def slow_exchange(player: Player) -> tuple[Exchange, float]:
    """What takes a worker a while, with the answer that must come back, and the seconds that it took."""
    rows, seconds = 2_000, 0.0  # the first request is slower than the others
    while seconds < BUSY_SECONDS:
        rows *= 2
        body = csv(rows, seed=rows)
        request = Request("POST", "/invocations", (("Content-Type", "text/csv"), ("Accept", "text/csv")), body)
        seconds, answer = min((timed(player, request) for _ in range(2)), key=itemgetter(0))
        assert answer.status == 200, answer
    return Exchange(post("/invocations", body), answer.body), seconds


def timed(player: Player, request: Request) -> tuple[float, Answer]:
    begun = time.monotonic()
    answer = player.ask(request)
    return time.monotonic() - begun, answer
