"""What a request's contributions may take: seconds and memory, estimated before they are computed."""

from __future__ import annotations

from dataclasses import dataclass

from . import cost
from .contributions import NotExplained

MEMORY = 512 * 1024**2  # bytes of float32 that the answer may hold while it is made


@dataclass(frozen=True)
class Need:
    """What `rows` records need: the `cost` of all members, and `numbers` float32 values a record."""

    rows: int
    cost: cost.Cost
    numbers: int


def check(need: Need, seconds: float) -> None:
    """Raise NotExplained (413) where `need` passes `seconds` or MEMORY; it says how many records would fit."""
    within = need.cost.rows_within(seconds)
    estimate = need.cost.seconds(need.rows)
    if estimate > seconds:
        raise _refusal(
            "would take about {:.0f} s, the limit is {:g} s (XGBPATCH_SHAP_SECONDS)".format(estimate, seconds),
            need,
            within,
        )
    size = need.rows * need.numbers * 4
    if size > MEMORY:
        fit = min(within, MEMORY // (need.numbers * 4))
        raise _refusal("would take {} MiB, the limit is {}".format(size >> 20, MEMORY >> 20), need, fit)


def _refusal(reason: str, need: Need, fit: int) -> NotExplained:
    advice = "send at most {} records a request".format(fit) if fit else "not even one record fits"
    return NotExplained(413, "SHAP values of {} records {}: {}".format(need.rows, reason, advice))
