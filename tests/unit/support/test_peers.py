"""The server of the peers' images, in this process: it speaks CSV as `xgbpatch bench` reads it."""

from __future__ import annotations

import numpy as np
import pytest
import xgboost

from support.bench import peer_worker
from support.bench.peers import PEERS
from xgbpatch.bench import cases, runner
from xgbpatch.bench.models import RECIPES, train

CASE = cases.Case(cases.SINGLE, "tiny", 4, True)


@pytest.mark.parametrize("explains", [False, True])
def test_a_peer_answers_as_the_bench_reads_it(explains):
    booster = train(*RECIPES["tiny"])

    def answer(rows):
        data = xgboost.DMatrix(rows)
        predicted = booster.predict(data)
        return np.column_stack((predicted, booster.predict(data, pred_contribs=True))) if explains else predicted

    client = peer_worker.application(answer).test_client()
    assert client.get("/ping").status_code == 200
    response = client.post("/invocations", data=cases.body(CASE), content_type="text/csv")
    rows = np.loadtxt(cases.body(CASE).splitlines(), delimiter=",", dtype=np.float32)
    predictions = [str(number).encode() for number in booster.predict(xgboost.DMatrix(rows)).tolist()]
    assert runner.near(cases.predictions(response.data, explains), predictions)
    assert {len(line.split(b",")) for line in response.data.splitlines()} == {10 if explains else 1}


def test_each_image_has_its_server():
    assert PEERS.keys() == peer_worker.PEERS.keys()
