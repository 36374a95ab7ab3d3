"""An image tells the same facts from its layers as it does when it is run, and its layers the same tree."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from support.bases import RUN_ID, chosen
from xgbpatch.build import verify
from xgbpatch.engine.client import Engine
from xgbpatch.engine.types import LocalImage, Run
from xgbpatch.inspection import container, layers
from xgbpatch.inspection import layers as inspection_layers
from xgbpatch.inspection.container import run_python
from xgbpatch.inspection.facts import Facts
from xgbpatch.oci.filesystem import FileTree
from xgbpatch.oci.image import RemoteImage
from xgbpatch.oci.layer_index import EntryKind
from xgbpatch.oci.manifest import DOCKER_CONFIG, DOCKER_MANIFEST, Manifest
from xgbpatch.patch.compose import Patch, PatchFile
from xgbpatch.progress import Silent
from xgbpatch.reference import ImageReference

pytestmark = pytest.mark.parametrize("version", chosen(), scope="session")
DOCKER_PLAIN_LAYER = "application/vnd.docker.image.rootfs.diff.tar"


@dataclass(frozen=True)
class Saved:
    """An image as `docker save` writes it: its layers are plain tars, whose digests the configuration has."""

    folder: Path
    reference: ImageReference

    @property
    def listed(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "manifest.json").read_text())[0])

    @property
    def config(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / self.listed["Config"]).read_text()))

    @property
    def files(self) -> dict[str, Path]:
        """Digest → file, base first."""
        paths = [self.folder / name for name in self.listed["Layers"]]
        return dict(zip(self.config["rootfs"]["diff_ids"], paths, strict=True))

    @property
    def image(self) -> RemoteImage:
        layers = [
            {"digest": digest, "mediaType": DOCKER_PLAIN_LAYER, "size": path.stat().st_size}
            for digest, path in self.files.items()
        ]
        config = {"digest": "sha256:" + "0" * 64, "mediaType": DOCKER_CONFIG, "size": 1}
        manifest = Manifest(json.dumps({"config": config, "layers": layers}).encode(), DOCKER_MANIFEST)
        return RemoteImage(self.reference.with_digest(manifest.digest), manifest, self.config)

    @contextmanager
    def opened(self, digest: str, offset: int = 0) -> Iterator[Iterator[bytes]]:
        with self.files[digest].open("rb") as stream:
            stream.seek(offset)
            yield iter(lambda: stream.read(1 << 18), b"")


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
def saved(image: LocalImage) -> Iterator[Saved]:
    """A push would compress a gigabyte first, which takes minutes: these are the same layers."""
    with TemporaryDirectory(prefix="xgbpatch-test-") as folder:
        with subprocess.Popen(["docker", "save", image.id], stdout=subprocess.PIPE) as save:
            subprocess.run(["tar", "-x", "-C", folder], stdin=save.stdout, check=True)
        yield Saved(Path(folder), ImageReference("registry.example", "saved", "1"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def from_layers(saved: Saved, cache: Path) -> Facts:
    return layers.inspect(saved.image, saved, cache, Silent())


@pytest.fixture(scope="module")
def from_running(engine: Engine, image: LocalImage) -> Facts:
    return container.inspect(engine, image, None)


FIELDS = [name for name in Facts.__dataclass_fields__ if name != "digest"]  # an image ID there, a manifest's here


@pytest.mark.parametrize("field", FIELDS)
def test_layers_tell_what_running_tells(field: str, from_layers: Facts, from_running: Facts):
    told, seen = _comparable(getattr(from_layers, field)), _comparable(getattr(from_running, field))
    assert told == seen
    assert told, "a base has all of it: an empty answer would compare nothing"


def test_layers_tell_the_tree_that_a_container_has(
    engine: Engine, image: LocalImage, saved: Saved, from_layers: Facts, cache: Path
):
    listing = engine.run(Run(image.id, ("-c", "find /t -printf '%p %y %m %l\\n'"), entrypoint=("/bin/sh",))).stdout
    layers = [
        inspection_layers.load_layer(saved, layer, cache / "layers", Silent()) for layer in reversed(saved.image.layers)
    ]
    assert sorted(_lines(FileTree(tuple(layers)), "/t")) == sorted(line.rstrip() for line in listing.splitlines())


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
    told = verify.added_complaints(from_running, patch)
    assert sorted({*told, *(from_running.complaints or ())}) == complaints
    assert len(told) >= 3, "pandas, the missing thing and slicer"


def _metadata(name: str, requires: list[str]) -> str:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *(f"Requires-Dist: {line}" for line in requires)]
    return "\n".join([*lines, "", "A description.", ""])
