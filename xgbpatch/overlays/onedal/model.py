"""A oneDAL model built node by node from xgboost's trees, one regression model for each output group.

daal4py's own converter is silently wrong for whole families of models (other ones in every release), so it is not used.
What makes the margins xgboost's, bit for bit: single precision throughout, the same order of additions, thresholds one
step down (xgboost goes left below a threshold, oneDAL up to it), missing values routed as the tree says.
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import numpy as np

from ..model import booster

BASE_LAST = booster.XGBOOST < (1, 3)  # xgboost added the base margin after the trees, later before the first


class OnedalModel(object):
    """Margins by oneDAL. `margins(rows)` takes float32 (n, features) and returns float32 (n,), or (n, groups).

    `unexplained` is why it has no contributions, or empty. The base value of these `wavers` from row to row.
    """

    wavers = True

    def __init__(self, daal4py: Any, forest: booster.Forest):
        self.features = forest.features
        self._last = np.array(forest.base, dtype=np.float32) if BASE_LAST else None
        self._models = [_regression(daal4py, forest, group) for group in range(len(forest.groups))]
        self._algorithm = daal4py.gbt_regression_prediction
        self.unexplained = "" if keeps_cover(daal4py) else "this daal4py has no contributions"

    def margins(self, rows: np.ndarray) -> np.ndarray:
        # an algorithm keeps the table of its first result, so each computation has its own
        columns = [self._algorithm(fptype="float").compute(rows, model).prediction.ravel() for model in self._models]
        margins = np.stack(columns, axis=1).astype(np.float32, copy=False)
        if self._last is not None:
            margins = margins + self._last
        return margins[:, 0] if len(self._models) == 1 else margins

    def explain(self, rows: np.ndarray, interactions: bool) -> np.ndarray:
        """Contributions, float32 (n, [groups,] features + 1), or with `interactions` one more such axis; bias last.

        Not where it is `unexplained`.
        """
        kind = "shapInteractions" if interactions else "shapContributions"
        shape = (len(rows),) + (self.features + 1,) * (2 if interactions else 1)
        arrays = [
            self._algorithm(fptype="float", resultsToCompute=kind).compute(rows, model).prediction.reshape(shape)
            for model in self._models
        ]
        return arrays[0] if len(arrays) == 1 else np.stack(arrays, axis=1)


def routes_missing(daal4py: Any) -> bool:
    """Whether this daal4py's builder can be told where a missing value goes (from 2023.2 on)."""
    return "default_left" in (daal4py.gbt_reg_model_builder(n_features=1, n_iterations=1).add_split.__doc__ or "")


def keeps_cover(daal4py: Any) -> bool:
    """Whether this daal4py's builder takes the cover of a node, which contributions weigh by (from 2024.0.1 on)."""
    return "cover" in (daal4py.gbt_reg_model_builder(n_features=1, n_iterations=1).add_split.__doc__ or "")


def _regression(daal4py: Any, forest: booster.Forest, group: int) -> Any:
    trees = forest.groups[group]
    builder = daal4py.gbt_reg_model_builder(n_features=forest.features, n_iterations=len(trees))
    covers = keeps_cover(daal4py)
    for position, tree in enumerate(trees):
        thresholds = np.nextafter(tree.condition, np.float32(-np.inf)).tolist()
        responses = tree.condition * tree.weight if tree.weight != 1 else tree.condition
        if position == 0 and not BASE_LAST:
            responses = responses + forest.base[group]
        leaves = responses.tolist()
        handle = builder.create_tree(tree.size)
        pending: List[Tuple[int, Dict[str, Any]]] = [(0, {})]
        while pending:
            node, place = pending.pop()
            arguments = dict(place, tree_id=handle)
            if covers:
                arguments["cover"] = tree.cover[node]
            if tree.left[node] == -1:
                builder.add_leaf(response=leaves[node], **arguments)
                continue
            parent = builder.add_split(
                feature_index=tree.feature[node],
                feature_value=thresholds[node],
                default_left=int(tree.default_left[node]),
                **arguments,
            )
            pending.append((tree.right[node], {"parent_id": parent, "position": 1}))
            pending.append((tree.left[node], {"parent_id": parent, "position": 0}))
    return builder.model(base_score=0.0) if covers else builder.model()
