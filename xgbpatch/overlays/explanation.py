"""What a request wants explained, and its explanation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Tuple

MARGIN = "margin"
PROBABILITY = "probability"


@dataclass(frozen=True)
class Wish:
    """How contributions are computed.

    `space` is MARGIN or PROBABILITY; `approximate` is xgboost's `approx_contribs`.
    """

    space: str = MARGIN
    approximate: bool = False
    interactions: bool = False


@dataclass(frozen=True)
class Explanation:
    """The contributions of n records, base value last, by F features.

    `values` is float32 (n, F + 1), or (n, K, F + 1) of K classes; `interactions`, where they were wished for, float32
    (n, F + 1, F + 1), or (n, K, F + 1, F + 1), else None; `names` are F texts.
    """

    values: Any
    names: Tuple[str, ...]
    interactions: Any = None
