"""The base under test, and the zoo of models that it trains once for all serving tests.

The table of known bugs runs inside the base's own packages, which are not here: `scripts/overlay-tests` runs it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support.standin.served_base import Zoo, train_zoo
from xgbpatch.engine.client import Engine

collect_ignore = ["test_known_bugs.py"]


@pytest.fixture(scope="session")
def image(base_of: Callable[[str], str], version: str) -> str:
    return base_of(version)


@pytest.fixture(scope="session")
def zoo(engine: Engine, image: str, tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    return train_zoo(engine, image, tmp_path_factory.mktemp("zoo"))
