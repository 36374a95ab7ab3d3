"""The size of an explained response, held to what SageMaker takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from .contributions import NotExplained

SAMPLE = 32  # records that are written first where there are many more
HOPELESS = 2  # times the limit: beyond it the sample alone refuses, and the response is never made


@dataclass(frozen=True)
class Body:
    """A response of `records` records; `write(count)` gives the bytes of the first `count` of them."""

    records: int
    write: Callable[[int], bytes]

    def within(self, limit: int) -> bytes:
        """The whole response; raises NotExplained (413) where it passes `limit` bytes."""
        if self.records > 4 * SAMPLE:
            self._refuse_hopeless(limit)
        whole = self.write(self.records)
        if len(whole) > limit:
            raise self._refusal(str(len(whole)), limit, self._fitting(self.records, len(whole), limit))
        return whole

    def _refuse_hopeless(self, limit: int) -> None:
        """From a sample. The base's recordio grows with the square of the records: two samples show it."""
        half, full = len(self.write(SAMPLE // 2)), len(self.write(SAMPLE))
        power = 2 if full > 3 * half else 1
        size = int(full * (self.records / SAMPLE) ** power)
        if size > HOPELESS * limit:
            guess = int(self.records * (limit / size) ** (1 / power))
            raise self._refusal("about {}".format(size), limit, self._fitting(guess, len(self.write(guess)), limit))

    def _fitting(self, count: int, size: int, limit: int) -> int:
        """A number of records that is known to fit, near to the largest; `size` is what `count` of them take."""
        while count and size > limit:
            count = min(count - 1, max(count // 2, count * limit // size))
            size = len(self.write(count))
        return count

    def _refusal(self, size: str, limit: int, fit: int) -> NotExplained:
        advice = "send at most {} records a request".format(fit) if fit else "not even one record fits"
        return NotExplained(
            413,
            "SHAP values of {} records make a response of {} bytes, the limit is {} bytes (XGBPATCH_SHAP_MEGABYTES): "
            "{}, or ask for fewer features (top_k)".format(self.records, size, limit, advice),
        )
