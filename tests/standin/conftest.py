"""The base under test, and the zoo of models that it trains once for all serving tests.

The table of known bugs runs inside the base's own packages, which are not here: `scripts/overlay-tests` runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.standin.base_process import BaseProcess, base_process
from support.standin.served_base import Zoo, train_zoo
from xgbpatch.engine.client import Engine

collect_ignore_glob = ["test_known_bugs_*.py"]


@pytest.fixture(scope="session")
def image(base_of: Callable[[str], str], version: str) -> str:
    return base_of(version)


@pytest.fixture(scope="session")
def process(engine: Engine, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseProcess]:
    """Where jobs and probes of the base run one after the other; their folders are those of `work`."""
    with base_process(engine, image, tmp_path_factory.mktemp("work")) as started:
        yield started


@pytest.fixture
def work(process: BaseProcess, tmp_path: Path) -> Path:
    """A folder of the test's own that the process sees."""
    return process.folder(tmp_path.name)


@pytest.fixture(scope="session")
def zoo(engine: Engine, image: str, tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    return train_zoo(engine, image, tmp_path_factory.mktemp("zoo"))
