"""What is known about a loaded booster, found out when it is loaded or when it is first needed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from . import cost, feature_names, ways
from .contributions import Asked, NotExplained
from .engine import Choice
from .explanation import Wish


class Member(object):
    """Of a booster in `folder` (None: not known), which it must not hold: nothing would ever be unloaded."""

    def __init__(self, choice: Choice, folder: Optional[str] = None):
        self.choice = choice
        self.folder = folder
        self._names: Optional[Tuple[str, ...]] = None
        self._ways: Dict[Wish, Tuple[ways.Way, ...]] = {}
        self._refusals: Dict[Wish, Tuple[int, str]] = {}

    def names(self, booster: Any) -> Tuple[str, ...]:
        """The features' names; raises model_folder.ModelFolderError."""
        if self._names is None:
            self._names = feature_names.of(booster, self.folder)
        return self._names

    def cost(self, rows: int, asked: Asked, wish: Wish) -> cost.Cost:
        """The Cost of explaining `rows` records, measured at the first call; raises what `explain` raises."""
        return sum((self._way(rows, asked, array).cost for array in _arrays(wish)), cost.NOTHING)

    def explain(self, dmatrix: Any, asked: Asked, wish: Wish) -> Tuple[np.ndarray, Any]:
        """(values, interactions or None) as in an Explanation.

        Raises ValueError, NotExplained and model_folder.ModelFolderError.
        """
        found = [self._array(dmatrix, asked, array) for array in _arrays(wish)]
        return found[0], found[1] if wish.interactions else None

    def _array(self, dmatrix: Any, asked: Asked, array: Wish) -> np.ndarray:
        found = self._way(dmatrix.num_row(), asked, array).compute(dmatrix, asked)
        return ways.native(dmatrix, asked, array) if found is None else found

    def _way(self, rows: int, asked: Asked, array: Wish) -> ways.Way:
        if array in self._refusals:
            raise NotExplained(*self._refusals[array])
        if array not in self._ways:
            self._ways[array] = self._found(asked, array)
        return min(self._ways[array], key=lambda way: way.cost.seconds(rows))

    def _found(self, asked: Asked, array: Wish) -> Tuple[ways.Way, ...]:
        """What cannot be explained is found out once, too: reading the whole model takes its time."""
        try:
            return ways.ways(ways.Found(self.choice.accelerator, self.folder), asked, array)
        except NotExplained as refusal:
            self._refusals[array] = (refusal.status, refusal.reason)
            raise


def _arrays(wish: Wish) -> List[Wish]:
    """One wish for each array of the explanation."""
    alone = replace(wish, interactions=False)
    return [alone, wish] if wish.interactions else [alone]
