"""The engine, the bases under test, and images patched from them; --engine loads this module."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from support.bases import RUN_ID, TEST_BASE
from support.patient_engine import PatientEngine
from support.pipeline import build_spec
from xgbpatch.build.engine import EngineBuilder, EngineBuildResult
from xgbpatch.engine.client import Engine
from xgbpatch.progress import Silent
from xgbpatch.reference import ImageReference
from xgbpatch.spec import Spec
from xgbpatch.util import locked_path


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A real engine; where none answers the tests fail, because nothing here may be skipped in silence."""
    with PatientEngine.connect() as connected:
        yield connected


@pytest.fixture(scope="session")
def base_of(engine: Engine) -> Callable[[str], str]:
    """version → the name of its base in the local engine; a stand-in is built when it is not there."""
    if TEST_BASE:
        return lambda version: TEST_BASE
    from xgbpatch.standin.build import build_standin, standin_reference

    names: dict[str, str] = {}

    def base(version: str) -> str:
        if version not in names:
            build_standin(engine, version, Silent())
            names[version] = str(standin_reference(version))  # a sandbox gives the image other names for a while
        return names[version]

    return base


@pytest.fixture(scope="session")
def builder(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> EngineBuilder:
    """A builder whose wheels and packages are kept between runs, as a user's would be, and whose facts are those of
    this run: its workers look at a base once. Their images say that they were made at the same moment, and so are the
    same: the one that is built first is verified, the engine has the others in its cache."""
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xgbpatch"
    if "PYTEST_XDIST_WORKER" in os.environ:
        cache = tmp_path_factory.getbasetemp().parent / "cache"  # of all workers
        cache.mkdir(exist_ok=True)
    else:
        cache = tmp_path_factory.mktemp("cache")
    for name in ("packages", "wheels"):
        (user / name).mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            (cache / name).symlink_to(user / name)
    moment = datetime.fromtimestamp((cache / "wheels").lstat().st_mtime, timezone.utc)
    return EngineBuilder(engine, lambda reference: None, cache, Silent(), moment)


@pytest.fixture(scope="session")
def spec_of(base_of: Callable[[str], str]) -> Callable[[str], Spec]:
    """version → a spec on its local base, with a repository of the tests' own."""

    def spec(version: str) -> Spec:
        base = ImageReference.parse(base_of(version))
        return Spec(version=version, region="us-west-2", base_image=base, repository=f"xgbpatch-tests/patched-{RUN_ID}")

    return spec


@pytest.fixture(scope="session")
def patched(builder: EngineBuilder, spec_of: Callable[[str], Spec]) -> Iterator[Callable[..., EngineBuildResult]]:
    """`patched(version, *features)`: the built image, made once a session and removed with it.

    Workers take turns: the first verifies the image, and none removes it before another has named it.
    """
    results: dict[tuple[str, ...], EngineBuildResult] = {}

    @contextmanager
    def turn(key: tuple[str, ...]) -> Iterator[None]:
        lock = builder.cache / f"{'-'.join(key)}.lock"
        lock.touch()
        with locked_path(lock):
            yield

    def image(version: str, *features: str) -> EngineBuildResult:
        key = (version, *features)
        if key not in results:
            with turn(key):
                results[key] = build_spec(builder, replace(spec_of(version), features=features))
        return results[key]

    yield image
    for key, result in results.items():
        with turn(key):
            builder.engine.remove(result.reference)
