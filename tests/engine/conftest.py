"""Tiny images of the engine's, the base under test in a registry, and servers of base and patched images."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping

import docker
import pytest

from support import compressed_bases
from support.differential import scenes, stage
from support.differential.budget import WHOLE_ZOO
from support.differential.scenes import NATIVE
from support.differential.stage import Part, Player, Servers, Zoo
from support.layers import tar_of
from support.registries import LoopbackRegistry, registry
from xgbpatch.build.engine import EngineBuildResult
from xgbpatch.engine.client import Engine
from xgbpatch.engine.types import LocalImage
from xgbpatch.oci.image import RemoteImage
from xgbpatch.registry.client import Registry, load_image

MakeImage = Callable[..., LocalImage]


@pytest.fixture
def make_image(engine: Engine) -> Iterator[MakeImage]:
    """Makes images of one small layer by `docker import`, and removes them afterwards."""
    client = docker.APIClient()
    names: list[str] = []
    images: list[LocalImage] = []

    def make(labels: Mapping[str, str] | None = None, content: bytes = b"", tag: str = "1.0") -> LocalImage:
        name = f"xgbpatch-test/{secrets.token_hex(4)}:{tag}"
        changes = [f'LABEL {key}="{value}"' for key, value in (labels or {}).items()]
        client.import_image_from_data(
            tar_of([("content", content or name.encode())]), *name.split(":"), changes=changes
        )
        names.append(name)
        image = engine.image(name)
        assert image is not None
        images.append(image)
        return image

    yield make
    for name in names:
        client.remove_image(name, force=True)
    assert [image.id for image in images if engine.image(image.id)] == [], "a push left another name behind"
    client.close()


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackRegistry]:
    """A registry for whole images."""
    with registry(tmp_path_factory.mktemp("target")) as started:
        yield started


@pytest.fixture(scope="session")
def pushed_base(
    engine: Engine, base_of: Callable[[str], str], version: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RemoteImage]:
    """The base in a registry."""
    with compressed_bases.serving(engine, base_of(version), version, tmp_path_factory.mktemp("bases")) as started:
        reference = started.reference(f"{compressed_bases.REPOSITORY}:{version}")
        yield load_image(Registry(lambda reference: None), reference)


# Base and patched images side by side: test_differential, test_load and test_fixes share them, one version at a time.


@pytest.fixture(scope="session")
def trained(
    engine: Engine, base_of: Callable[[str], str], version: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Zoo, Player]]:
    """Models of the base's own xgboost, and the oracle that explains them."""
    names = () if WHOLE_ZOO else scenes.MODELS
    with stage.consulted(engine, base_of(version), tmp_path_factory.mktemp("zoo"), names) as zoo_and_oracle:
        yield zoo_and_oracle


@pytest.fixture(scope="session")
def zoo(trained: tuple[Zoo, Player]) -> Zoo:
    return trained[0]


@pytest.fixture(scope="session")
def oracle(trained: tuple[Zoo, Player]) -> Player:
    return trained[1]


@pytest.fixture(scope="session")
def parts(version: str, base_of: Callable[[str], str], patched: Callable[..., EngineBuildResult]) -> dict[str, Part]:
    """The base, and images patched from it: nothing on, oneDAL, SHAP values behind each prediction, both; fast."""
    image, fast = (str(patched(version, "shap", name).image.id) for name in ("daal4py", scenes.FAST))
    on = {name: Part(image, environment) for name, environment in scenes.ENVIRONMENTS.items()}
    off = str(patched(version).image.id)
    return {"base": Part(base_of(version)), "off": Part(off), scenes.FAST: Part(fast), **on}


@pytest.fixture(scope="session")
def native_servers(engine: Engine, zoo: Zoo, parts: dict[str, Part]) -> Iterator[Servers]:
    with Servers(engine, NATIVE, zoo, NATIVE.cast(parts)) as servers:
        yield servers


@pytest.fixture
def native(native_servers: Servers) -> dict[str, Player]:
    """The servers of the scene `NATIVE`, ready; a test may end one."""
    return native_servers.players()
