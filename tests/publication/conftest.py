"""Fixtures on real parts: registries, moto's server, the running engine, tiny images."""

from __future__ import annotations

import io
import os
import secrets
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import docker
import pytest
import requests
from ecr_on_loopback import Ecr, ecr_on_loopback
from handmade import depot_on
from plan_parts import OLD, Yard
from publication_parts import Kind, LoopbackRegistry, free_port, registry, running
from rebase_parts import Shop

from xgbpatch.aws import AwsDoor, RepositoryOptions
from xgbpatch.engine.client import Engine
from xgbpatch.engine.values import LocalImage
from xgbpatch.progress import Silent
from xgbpatch.reference import ImageReference
from xgbpatch.registry import Registry
from xgbpatch.remote.image import RemoteImage, load
from xgbpatch.spec import Spec


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[LoopbackRegistry]:
    with registry(tmp_path) as started:
        yield started


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[LoopbackRegistry]:
    """TLS under a CA of its own, and a password."""
    with registry(tmp_path, Kind(tls=True)) as started:
        yield started


@pytest.fixture
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackRegistry]:
    """A second registry, without a password."""
    with registry(tmp_path_factory.mktemp("other")) as started:
        yield started


@pytest.fixture(scope="module")
def loopback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackRegistry]:
    """One registry for all tests of a module; each has repositories of its own."""
    with registry(tmp_path_factory.mktemp("registry")) as started:
        yield started


@pytest.fixture
def yard(loopback: LoopbackRegistry, tmp_path: Path) -> Yard:
    """A base and a repository of this test's own; `spec` stands on that base."""
    name = secrets.token_hex(4)
    base = loopback.reference(f"base-{name}:3.2-0")
    spec = Spec("3.2-0", "", "fraud", base_image=base, features=("shap",), repository=f"fraud-{name}")
    made = Yard(depot_on(tmp_path / "cache"), spec, loopback)
    made.move(OLD)
    return made


@pytest.fixture(scope="module")
def known_bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache: the layers of `shop`'s bases are the same from test to test, and inspected once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def shop(loopback: LoopbackRegistry, known_bases: Path) -> Shop:
    return Shop(depot_on(known_bases), loopback.reference(f"r{secrets.token_hex(4)}/image"))


@pytest.fixture
def pauses() -> list[float]:
    """What `client` would have waited."""
    return []


@pytest.fixture
def client(pauses: list[float]) -> Registry:
    """Nobody's, and never waiting."""
    return Registry(lambda reference: None, pauses.append)


MakeImage = Callable[..., LocalImage]


@pytest.fixture
def make_image(engine: Engine) -> Iterator[MakeImage]:
    """Makes images of one small layer by `docker import`, and removes them afterwards."""
    client = docker.APIClient()
    made: list[str] = []
    images: list[LocalImage] = []

    def make(labels: Mapping[str, str] | None = None, content: bytes = b"", tag: str = "1.0") -> LocalImage:
        name = f"xgbpatch-test/{secrets.token_hex(4)}:{tag}"
        changes = [f'LABEL {key}="{value}"' for key, value in (labels or {}).items()]
        client.import_image_from_data(_tar(content or name.encode()), *name.split(":"), changes=changes)
        made.append(name)
        image = engine.image(name)
        assert image is not None
        images.append(image)
        return image

    yield make
    for name in made:
        client.remove_image(name, force=True)
    assert [image.id for image in images if engine.image(image.id)] == [], "a push left another name behind"
    client.close()


def _tar(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("content")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture(scope="session")
def moto_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running(command, tmp_path_factory.mktemp("moto") / "log", port):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def aws(moto_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """boto3 of this process and of its children talks to moto; nothing of the user's own configuration is read."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    requests.post(f"{moto_url}/moto-api/reset", timeout=10)
    yield moto_url
    requests.post(f"{moto_url}/moto-api/reset-auth", data="Infinity", timeout=10)


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackRegistry]:
    """A registry for whole images."""
    with registry(tmp_path_factory.mktemp("target")) as started:
        yield started


@pytest.fixture(scope="session")
def base_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackRegistry]:
    with registry(tmp_path_factory.mktemp("bases")) as started:
        yield started


@pytest.fixture(scope="session")
def pushed_base(
    engine: Engine, base_registry: LoopbackRegistry, base_of: Callable[[str], str], version: str
) -> RemoteImage:
    """The base in a registry, pushed by the engine; its name there is taken from the engine again."""
    reference = base_registry.reference(f"sagemaker-xgboost:{version}")
    image = engine.image(base_of(version))
    assert image is not None
    engine.tag(image.id, reference)
    try:
        engine.push(reference, None, Silent())
    finally:
        engine.remove(reference)
    return load(Registry(lambda reference: None), reference)


@pytest.fixture(scope="session")
def ecr_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ecr]:
    with ecr_on_loopback(tmp_path_factory.mktemp("ecr")) as started:
        yield started


@pytest.fixture
def ecr(ecr_session: Ecr, monkeypatch: pytest.MonkeyPatch) -> Ecr:
    """An account with nothing in it; its registry answers under ECR's name, for this process and its children."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "XGBPATCH_"))]:
        monkeypatch.delenv(name)
    for name, value in ecr_session.variables.items():
        monkeypatch.setenv(name, value)
    requests.post(f"{ecr_session.endpoint}/moto-api/reset", timeout=10)
    return ecr_session


@pytest.fixture
def place(ecr: Ecr) -> ImageReference:
    """An empty repository there."""
    reference = ecr.reference(f"team/{secrets.token_hex(4)}")
    assert reference.ecr is not None
    AwsDoor(reference.ecr.region).ensure_repository(reference.ecr.account, reference.repository, RepositoryOptions())
    return reference
