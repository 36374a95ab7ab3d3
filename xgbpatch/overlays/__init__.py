"""The package `xgbpatch_overlays` of an image: it runs on the base's Python and uses only the base's packages."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from typing import Iterator


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """No log record, no warning of Python and no line on stdout meanwhile; errors pass.

    What the overlay computes stays out of a job's log, where its lines would be taken for the user's, or for metrics.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
