"""A base in a registry tells the same facts from its layers as it does when it is run; nothing is pulled for that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from publication_parts import LoopbackRegistry, registry

from xgbpatch import inspection
from xgbpatch.engine.client import Engine
from xgbpatch.facts import Facts
from xgbpatch.progress import Silent
from xgbpatch.registry import Registry
from xgbpatch.remote import inspection as remote_inspection
from xgbpatch.remote.http_blobs import HttpBlobs
from xgbpatch.remote.image import RemoteImage, load

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def loopback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackRegistry]:
    with registry(tmp_path_factory.mktemp("registry")) as started:
        yield started


@pytest.fixture(scope="module")
def pushed(
    engine: Engine, loopback: LoopbackRegistry, base_of: Callable[[str], str], version: str
) -> Iterator[RemoteImage]:
    """The base, pushed by the engine; its name there is taken from the engine again."""
    reference = loopback.reference(f"sagemaker-xgboost:{version}")
    image = engine.image(base_of(version))
    assert image is not None
    engine.tag(image.id, reference)
    try:
        engine.push(reference, None, Silent())
    finally:
        engine.remove(reference)
    return load(_registry(), reference)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def from_layers(pushed: RemoteImage, cache: Path) -> Facts:
    return remote_inspection.inspect(pushed, _blobs(pushed), cache, Silent())


@pytest.fixture(scope="module")
def from_running(engine: Engine, base_of: Callable[[str], str], version: str) -> Facts:
    image = engine.image(base_of(version))
    assert image is not None
    return inspection.inspect(engine, image, None)


def _registry() -> Registry:
    return Registry(lambda reference: None)


def _blobs(image: RemoteImage) -> HttpBlobs:
    return HttpBlobs(image.reference, _registry().session)


FIELDS = [name for name in Facts.__dataclass_fields__ if name != "digest"]


@pytest.mark.parametrize("field", FIELDS)
def test_layers_tell_what_running_tells(field: str, from_layers: Facts, from_running: Facts):
    told, seen = _comparable(getattr(from_layers, field)), _comparable(getattr(from_running, field))
    assert told == seen
    assert told, "a base has all of it: an empty answer would compare nothing"


def test_facts_are_known_by_the_manifests_digest(pushed: RemoteImage, from_layers: Facts):
    assert from_layers.digest == pushed.reference.digest


def test_a_second_inspection_reads_nothing_from_the_registry(
    pushed: RemoteImage, from_layers: Facts, cache: Path, loopback: LoopbackRegistry
):
    before = loopback.log.read_text()
    assert remote_inspection.inspect(pushed, _blobs(pushed), cache, Silent()) == from_layers
    for kept in (cache / "facts").iterdir():
        kept.unlink()
    assert remote_inspection.inspect(pushed, _blobs(pushed), cache, Silent()) == from_layers, "from the kept layers"
    assert loopback.log.read_text() == before


def _comparable(value: Any) -> Any:
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value
