"""Registries, moto's server and ECR under its own name: what the tests without an engine stand on."""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from support.ecr import Ecr, ecr_on_loopback
from support.handmade import services_on
from support.handmade_bases import PACKAGE, stand_in_modules
from support.planning import OLD, ImageRepository
from support.rebasing import Repositories
from support.registries import Kind, LoopbackRegistry, free_port, registry, registry_program, running
from xgbpatch.aws import AwsRegion, RepositoryOptions
from xgbpatch.reference import ImageReference
from xgbpatch.registry.client import Registry
from xgbpatch.spec import Replacement, Spec, UserFile


@pytest.fixture(scope="session")
def registry_on_path() -> Iterator[None]:
    """For sandboxes, each of which would fetch the program for itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(Path(registry_program()).parent), prepend=os.pathsep)
        yield


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
def trusted(guarded: LoopbackRegistry, monkeypatch: pytest.MonkeyPatch) -> LoopbackRegistry:
    """`guarded`, with its CA among those that this process trusts."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(guarded.ca))
    return guarded


@pytest.fixture
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackRegistry]:
    """A second registry, without a password."""
    with registry(tmp_path_factory.mktemp("other")) as started:
        yield started


@pytest.fixture(scope="session")
def loopback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackRegistry]:
    """One registry for all tests of a session; each has repositories of its own."""
    with registry(tmp_path_factory.mktemp("registry")) as started:
        yield started


@pytest.fixture
def space(loopback: LoopbackRegistry) -> LoopbackRegistry:
    """The session's registry, with repositories that no other test has."""
    return replace(loopback, prefix=f"r{secrets.token_hex(4)}/")


@pytest.fixture
def image_repository(loopback: LoopbackRegistry, tmp_path: Path) -> ImageRepository:
    """A base and a repository of this test's own; `spec` stands on that base."""
    name = secrets.token_hex(4)
    base = loopback.reference(f"base-{name}:3.2-0")
    spec = Spec("3.2-0", "", "fraud", base_image=base, features=("shap",), repository=f"fraud-{name}")
    repository = ImageRepository(services_on(tmp_path / "cache"), spec, loopback)
    repository.move(OLD)
    return repository


@pytest.fixture(scope="module")
def known_bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache: the layers of the bases of `repositories` are the same from test to test, and inspected once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def repositories(loopback: LoopbackRegistry, known_bases: Path) -> Repositories:
    return Repositories(services_on(known_bases), loopback.reference(f"r{secrets.token_hex(4)}/image"))


@pytest.fixture
def everything(tmp_path: Path) -> dict[str, tuple[object, ...]]:
    """A file, a replaced module, variables: one of the user's, one over the base's, one equal to the base's."""
    text = stand_in_modules()[f"{PACKAGE}/data_utils.py"]
    module, file = tmp_path / "data_utils.py", tmp_path / "mine.py"
    module.write_text(f"{text}\nMINE = 1\n")
    file.write_text("mine = 1\n")
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return {
        "features": ("shap", "training"),
        "fixes": ("ensemble-vote",),
        "files": (UserFile(file, "mine.py"),),
        "replacements": (Replacement(f"{PACKAGE}.data_utils", module, sha256),),
        "environment": (("MINE", "1"), ("LD_LIBRARY_PATH", "/mine"), ("LANG", "C.UTF-8")),
    }


@pytest.fixture
def pauses() -> list[float]:
    """What `client` would have waited."""
    return []


@pytest.fixture
def client(pauses: list[float]) -> Registry:
    """Nobody's, and never waiting."""
    return Registry(lambda reference: None, pauses.append)


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
    requests.post(f"{moto_url}/moto-api/reset", timeout=120)
    yield moto_url
    requests.post(f"{moto_url}/moto-api/reset-auth", data="Infinity", timeout=120)


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
    requests.post(f"{ecr_session.endpoint}/moto-api/reset", timeout=120)
    return ecr_session


@pytest.fixture
def place(ecr: Ecr) -> ImageReference:
    """An empty repository there."""
    reference = ecr.reference(f"team/{secrets.token_hex(4)}")
    assert reference.ecr is not None
    AwsRegion(reference.ecr.region).ensure_repository(reference.ecr.account, reference.repository, RepositoryOptions())
    return reference
