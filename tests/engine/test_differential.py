"""The same requests to a base and to images patched from it, over HTTP: what was not asked for does not change.

Features off: status, headers and bytes are the base's. Features on (SHAP values appended, oneDAL predicting, the lean
server of `fast`): so is everything but what was asked for, and the contributions are those of the base's own xgboost.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

import pytest
from hypothesis import strategies as st

from support.bases import dealt, versions
from support.differential import stage
from support.differential.budget import WHOLE_ZOO, hold
from support.differential.comparing import ADDED, NOT_ACCEPTABLE, RECORD, REFUSED, explained_difference
from support.differential.grammar import CUSTOM, Subject, requests
from support.differential.scenes import BATCH, FAST, MULTI_MODEL, NATIVE, PICKLED, SELECTABLE
from support.differential.stage import Player, Scene, Zoo
from xgbpatch.contract.http import ENGINE_HEADER, Answer, Request, difference

pytestmark = pytest.mark.timeout(7200 if WHOLE_ZOO else 1800)

ATTEMPTS = 8
DIED = b'"Worker died."'  # the model server now and then misreads its worker, and starts it anew
RACES = (0, 502)  # gunicorn closes on a large body while nginx still writes, see xgbpatch.contract.server.settled

SCENES = [
    *((version, NATIVE) for version in versions()),
    *dealt(oldest=(PICKLED, MULTI_MODEL), newest=(BATCH, SELECTABLE)),
]
EVERY_PART = ("off", "asked", "append", FAST)
NO_METHODS = ("BREW", "get")  # the lean server calls them a bad request
UNEXPLAINED = ("ensemble-votes", "ensemble-hinge", "vector-leaves")  # a vote is no sum; xgboost explains no vector leaf


@dataclass
class Tally:
    """What was asked and answered, so that a run which asks nothing shows."""

    statuses: Counter[int] = field(default_factory=Counter)
    explained: int = 0
    engine: str = ""

    def __str__(self) -> str:
        counts = ", ".join(f"{count} of {status}" for status, count in sorted(self.statuses.items()))
        return f"{counts}; {self.explained} explained"


@pytest.mark.parametrize(("version", "scene"), SCENES, ids=lambda value: getattr(value, "name", value), scope="session")
def test_generated_requests_are_answered_as_the_base_does(request, engine, zoo, parts, oracle, scene):
    with served(request, engine, zoo, parts, scene) as players:
        tally = differential(players, zoo, oracle, scene)
    assert tally.statuses[200] >= tally.statuses.total() / 5, tally
    appends = bool({"append", "both"} & set(scene.parts))
    assert tally.explained >= (tally.statuses.total() / 8 if appends else 1), tally
    assert len(tally.statuses) >= 3, tally
    switched_on = bool({"asked", "both"} & set(scene.parts))
    assert tally.engine.startswith("daal4py;") or not switched_on or scene.multi_model, tally.engine
    print(tally)


@contextmanager
def served(request, engine, zoo, parts, scene):
    """The players of a scene: its own, or those that tests share."""
    if scene is NATIVE:
        players = request.getfixturevalue("native")
        with stage.ends_named(players):
            yield players
    else:
        with stage.played(engine, scene, zoo, scene.cast(parts)) as players:
            yield players


@pytest.mark.skipif(not WHOLE_ZOO, reason="minutes; XGBPATCH_DIFFERENTIAL_ZOO=all runs it")
def test_every_model_of_the_zoo_is_answered_as_the_base_does(engine, zoo, parts, oracle):
    failed = {}
    for name in zoo.models:
        scene = Scene(name, (name,), share=0.1, parts=("off",) if name in UNEXPLAINED else EVERY_PART)
        try:
            with stage.played(engine, scene, zoo, scene.cast(parts)) as players:
                tally = differential(players, zoo, oracle, scene)
        except AssertionError as error:  # the next models are worth an hour's run all the same
            failed[name] = tally = str(error)
        print(f"{name}: {tally}", flush=True)
    assert not failed


def differential(players: dict[str, Player], zoo: Zoo, oracle: Player, scene: Scene) -> Tally:
    """Hold the scene's servers against each other over its share of the budget."""
    tally = Tally()
    for name in {"asked", "both"} & set(players):
        tally.engine = players[name].ask(Request(path="/ping")).headers.get(ENGINE_HEADER, "")

    def check(request: Request) -> None:
        base = players["base"].ask(request)
        truth = cache(lambda: ask_oracle(oracle, scene, request))
        for name in scene.parts:
            base, answer = settled(players, name, request, base)
            way = way_of(name, request, base)
            differs = wrong(way, base, answer, truth() if way == "explained" else None)
            assert not differs, f"{name}: {request}: {differs}"
            tally.explained += way == "explained"
        tally.statuses[base.status] += 1

    hold(written(scene, zoo), scene.share, check)
    return tally


def written(scene: Scene, zoo: Zoo) -> st.SearchStrategy[Request]:
    """Requests for any model of the scene."""
    paths = [f"/models/{name}/invoke" if scene.multi_model else "/invocations" for name in scene.models]
    widths = [int(zoo.models[name]["features"]) for name in scene.models]
    return st.one_of([requests(Subject(width, path)) for width, path in zip(widths, paths, strict=True)])


def settled(players: dict[str, Player], name: str, request: Request, base: Answer) -> tuple[Answer, Answer]:
    """The base's answer, asked for again where one raced, and another's, past the races of the base's own stack."""
    other = players[name].ask(request)
    for _ in range(ATTEMPTS):
        if not any(map(raced, (base, other))) or (base.status == other.status and DIED not in base.body):
            break
        base, other = players["base"].ask(request), players[name].ask(request)
    return base, other


def raced(answer: Answer) -> bool:
    """Whether the answer came of a race in the servers between client and worker."""
    return answer.status in RACES or DIED in answer.body


def scores(request: Request, base: Answer) -> bool:
    """Whether there is something to explain."""
    invoked = "invocations" in request.path or request.path.endswith("/invoke")
    return base.status == 200 and request.method == "POST" and invoked


def way_of(part: str, request: Request, base: Answer) -> str:
    """How the answer must be made.

    "base": every byte and header is the base's. "plain": so they are, and /ping names the engine. "explained": all
    contributions stand behind the predictions. "options": something of them does, or 400 says which option is wrong, or
    406 that protobuf carries none. "no method": it is refused.
    """
    options = dict(request.headers).get(CUSTOM, "")
    if part == "off":
        return "base"
    if part == FAST and request.method in NO_METHODS:
        return "no method"
    if options.startswith("shap=") and options not in ("shap=on", "shap=off"):
        return "options"
    explained = scores(request, base) and options != "shap=off" and (part in ("append", "both") or options == "shap=on")
    return "explained" if explained else "plain"


def wrong(way: str, base: Answer, answer: Answer, truth: dict | None) -> str:
    """What is wrong with an answer that was to be made that way, or nothing."""
    if way == "explained":
        return explained_difference(base, answer, truth)
    if way == "no method":
        return "" if answer.status == 400 else f"an unknown method is answered {answer}"
    protobuf = base.body.startswith(RECORD)  # which can carry no SHAP values
    refused = answer.status == REFUSED or (protobuf and answer.status == NOT_ACCEPTABLE)
    if way == "options" and (refused or base.status == answer.status == 200):
        return ""
    return difference(base, answer, frozenset() if way == "base" else ADDED)


def ask_oracle(oracle: Player, scene: Scene, request: Request) -> dict:
    """What the contributions of a request must be."""
    model = request.path.split("/")[2] if scene.multi_model else scene.models[0]
    kind = tuple(header for header in request.headers if header[0] == "Content-Type")
    answer = oracle.ask(Request("POST", f"/{model}", kind, request.body))
    assert answer.status == 200, f"the oracle cannot read {request}: {answer}"
    return answer.json()
