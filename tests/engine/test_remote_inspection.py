"""An image tells the same facts from its layers as it does when it is run, and its layers the same tree."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import pytest

from support import compressed_bases
from support.bases import RUN_ID, chosen
from support.handmade import services_on
from support.registries import registry
from xgbpatch.build import verify
from xgbpatch.build.engine import EngineBuilder
from xgbpatch.engine.client import Engine, afterwards
from xgbpatch.engine.types import LocalImage, Run
from xgbpatch.inspection import container, layers
from xgbpatch.inspection.container import run_python
from xgbpatch.inspection.facts import Facts
from xgbpatch.oci.filesystem import FileTree
from xgbpatch.oci.image import RemoteImage
from xgbpatch.oci.layer_index import EntryKind
from xgbpatch.patch.compose import Patch, PatchFile
from xgbpatch.progress import Silent
from xgbpatch.registry import Services
from xgbpatch.registry.client import Registry, load_image

pytestmark = pytest.mark.parametrize("version", chosen(), scope="session")


CHANGED = r"""
FROM {base}
RUN mkdir -p /t/kept /t/gone/deep /t/again/old /t/linked /t/mode /t/moved/deep \
 && touch /t/kept/a /t/kept/b /t/gone/deep/a /t/again/old/a /t/linked/a /t/file /t/moved/deep/a \
 && ln /t/kept/a /t/hard && ln -s kept /t/link && ln -s /t/link/a /t/far && ln -s . /t/loop
RUN rm -r /t/gone /t/kept/b && rm -r /t/again && mkdir /t/again && touch /t/again/new \
 && rm -r /t/linked && ln -s kept /t/linked && rm /t/file && mkdir /t/file && touch /t/file/a \
 && chmod 700 /t/mode && mv /t/moved /t/renamed && rm /t/link && touch /t/link && ln /t/kept/a /t/kept/hard \
 && rm -r $(python -c "import flask; print(flask.__path__[0])")*
RUN mkdir -p /t/gone/later && touch /t/gone/later/a && chmod 750 /t/mode
"""


@pytest.fixture(scope="module")
def image(engine: Engine, base_of: Callable[[str], str], version: str) -> Iterator[LocalImage]:
    """The base, and layers above it that change, replace and remove what is below them, in the base's packages too."""
    name = f"xgbpatch-tests/layers-{RUN_ID}:{version}"
    subprocess.run(
        ["docker", "build", "-q", "-t", name, "-"], input=CHANGED.format(base=base_of(version)).encode(), check=True
    )
    built = engine.image(name)
    assert built is not None
    yield built
    engine.remove(name)


@pytest.fixture(scope="module")
def pushed(
    engine: Engine,
    image: LocalImage,
    base_of: Callable[[str], str],
    version: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RemoteImage]:
    """In a registry that has the base's layers already, of which no push compresses a gigabyte."""
    folder = tmp_path_factory.mktemp("registry")
    compressed_bases.add_layers(engine, base_of(version), version, folder / "blobs", "layers")
    with registry(folder) as started:
        name = started.reference(f"layers:{version}")
        engine.tag(image.id, name)
        with afterwards(lambda: engine.remove(name)):
            engine.push(name, None, Silent())
        yield load_image(Registry(lambda reference: None), name)


@pytest.fixture(scope="module")
def services(builder: EngineBuilder) -> Services:
    """Whose cache is that of all workers: test_builders reads layers of the same base."""
    return services_on(builder.cache)


@pytest.fixture(scope="module")
def from_layers(pushed: RemoteImage, services: Services) -> Facts:
    return layers.inspect(pushed, services.blobs_of(pushed.reference), services.cache, Silent())


@pytest.fixture(scope="module")
def from_running(engine: Engine, image: LocalImage) -> Facts:
    return container.inspect(engine, image, None)


FIELDS = [name for name in Facts.__dataclass_fields__ if name != "digest"]  # an image ID there, a manifest's here


@pytest.mark.parametrize("field", FIELDS)
def test_layers_tell_what_running_tells(field: str, from_layers: Facts, from_running: Facts):
    by_layers, by_running = _comparable(getattr(from_layers, field)), _comparable(getattr(from_running, field))
    assert by_layers == by_running
    assert by_layers, "a base has all of it: an empty answer would compare nothing"


def test_layers_tell_the_tree_that_a_container_has(
    engine: Engine, image: LocalImage, pushed: RemoteImage, from_layers: Facts, services: Services
):
    listing = engine.run(Run(image.id, ("-c", "find /t -printf '%p %y %m %l\\n'"), entrypoint=("/bin/sh",))).stdout
    blobs, folder = services.blobs_of(pushed.reference), services.cache / "layers"
    tree = FileTree(tuple(layers.load_layer(blobs, layer, folder, Silent()) for layer in reversed(pushed.layers)))
    assert sorted(_lines(tree, "/t")) == sorted(line.rstrip() for line in listing.splitlines())


def _lines(tree: FileTree, path: str) -> Iterator[str]:
    """As `find` prints them: it follows no link."""
    if tree.is_link(path):
        folder, name = path.rsplit("/", 1)
        link = next(layer.entries[path[1:]].link for layer in tree.layers if path[1:] in layer.entries)
        yield f"{folder}/{name} l 777 {link}"
        return
    entry = tree.entry(path)
    assert entry is not None
    yield f"{path} {entry.kind.value} {entry.mode:o}"
    for name in tree.list(path) if entry.kind is EntryKind.FOLDER else ():
        yield from _lines(tree, f"{path}/{name}")


def _comparable(value: Any) -> Any:
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value


ADDED = {
    "shap": ["numba", "numpy>=1", 'missing-on-windows; sys_platform == "win32"', "extra-only; extra == 'plots'"],
    "slicer": ["pandas<0.5", "Missing_Thing[more]>=2.0,<3; python_version >= '3.6'"],
    "later": ["slicer==2.*", "shap>=1.0rc1"],
}

_CHECK = """
import json, os, subprocess, sys, tempfile
folder = tempfile.mkdtemp()
for name, content in json.loads(%r).items():
    os.makedirs(os.path.join(folder, name))
    with open(os.path.join(folder, name, "METADATA"), "w") as stream:
        stream.write(content)
command = [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"]
found = subprocess.run(command, stdout=subprocess.PIPE, env=dict(os.environ, PYTHONPATH=folder))
print(json.dumps(sorted(found.stdout.decode().splitlines())))
"""


def test_packages_beside_the_base_are_complained_of_as_pip_does(engine: Engine, image: LocalImage, from_running: Facts):
    files = {f"{name}-1.0.dist-info": _metadata(name, requires) for name, requires in ADDED.items()}
    complaints = json.loads(run_python(engine, image.id, _CHECK % json.dumps(files)))
    site = "/opt/xgbpatch/packages/lib/python3.12/site-packages"
    patch = Patch(tuple(PatchFile(f"{site}/{name}/METADATA", text.encode()) for name, text in files.items()), {})
    added = verify.added_complaints(from_running, patch)
    assert sorted({*added, *(from_running.complaints or ())}) == complaints
    assert len(added) >= 3, "pandas, the missing thing and slicer"


def _metadata(name: str, requires: list[str]) -> str:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *(f"Requires-Dist: {line}" for line in requires)]
    return "\n".join([*lines, "", "A description.", ""])
