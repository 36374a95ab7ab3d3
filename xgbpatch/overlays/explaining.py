"""One request that is explained, between its prediction and the bytes of its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Mapping, Sequence

import numpy as np

from . import selectable, shap_keys, shap_output
from .explanation import Explanation, Wish
from .payload import Body
from .request_options import Manner
from .shap_keys import KeyValues


@dataclass(frozen=True)
class Explaining:
    """`explain` computes for this request, `manner` says how it is answered, in at most `limit` bytes."""

    explain: Callable[[Wish], Explanation]
    manner: Manner
    limit: int

    def appended(self, text: str, writer: Callable[..., Any], predicted: Sequence[str] = ()) -> bytes:
        """`text` of the base with an explanation behind each record, by a writer of shap_output; raises NotExplained.

        `predicted` are the keys of the text, where the base selected some.
        """
        strongest = shap_keys.TOP_K if self.manner.top_k else shap_keys.VALUES
        keys = (shap_keys.BASE_VALUE, strongest) + ((shap_keys.INTERACTIONS,) if self.manner.interactions else ())
        values = self._values(keys)
        write = writer(text, shap_output.Addition(values, keys, self.manner.header, tuple(predicted)))
        return Body(len(values), write).within(self.limit)

    def selected(self, raw: np.ndarray, learner: Mapping[str, Any], accept: str) -> bytes:
        """The selected keys of each record, ours among them; `learner` is of the model's configuration.

        Raises NotExplained, and what the base raises for its own keys.
        """
        form = selectable.Form(selectable.asked_keys(selectable.keys(), self.manner), accept)
        values = self._values(form.ours)  # first: of a vote, newer bases have no predictions either
        records = selectable.predictions(raw, form.keys, learner)
        names = shap_output.line(form.keys) if self.manner.header and accept == selectable.CSV else ""
        return Body(
            len(values), lambda count: names.encode("utf-8") + selectable.encode(records[:count], values, form)
        ).within(self.limit)

    def _values(self, keys: Sequence[str]) -> KeyValues:
        wish = self.manner.wish(shap_keys.INTERACTIONS in keys)
        top_k = (self.manner.top_k or shap_keys.DEFAULT_K) if shap_keys.TOP_K in keys else None
        return KeyValues(self.explain(wish), top_k)
