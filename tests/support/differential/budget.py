"""How many requests hypothesis writes, and with which seed.

XGBPATCH_DIFFERENTIAL_CASES: requests a version, 300 where it is not set; XGBPATCH_DIFFERENTIAL_SEED: a number for other
requests than those of every run; XGBPATCH_DIFFERENTIAL_ZOO=all: every model of the zoo, each in servers of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from xgbpatch.contract.http import Request

CASES = int(os.environ.get("XGBPATCH_DIFFERENTIAL_CASES") or 300)
SEED = os.environ.get("XGBPATCH_DIFFERENTIAL_SEED", "")
WHOLE_ZOO = os.environ.get("XGBPATCH_DIFFERENTIAL_ZOO", "") == "all"
WRITTEN = 4  # requests that hypothesis writes for one that is asked


def hold(requests: SearchStrategy[Request], share: float, check: Callable[[Request], None]) -> None:
    """Call `check` with a `share` of the budget's requests; the smallest one that fails is the one reported.

    Hypothesis likes to vary what it wrote before: of requests that differ in their bodies only, a few are asked.
    """
    budget = max(5, int(CASES * share))
    chosen = settings(
        max_examples=budget * WRITTEN,
        derandomize=not SEED,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    alike: dict[object, list[Request]] = {}
    count = 0
    failed: list[Request] = []

    @chosen
    @given(request=requests)
    def property_(request: Request) -> None:
        nonlocal count
        like = alike.setdefault((request.method, request.path, request.headers), [])
        if not failed and (count >= budget or request in like or len(like) > CASES // 500):
            return
        like.append(request)
        count += 1
        failed.append(request)
        check(request)
        failed.remove(request)

    (seed(int(SEED))(property_) if SEED else property_)()
