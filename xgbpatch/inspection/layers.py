"""The facts of a base from its layers in a registry: the same as by running it, without an engine."""

from __future__ import annotations

import base64
import posixpath
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from xgbpatch import cache
from xgbpatch.errors import BaseImageError
from xgbpatch.inspection import python as inspection_python
from xgbpatch.inspection.facts import Facts, PythonFacts, facts_of, parse, refuse_incomplete
from xgbpatch.inspection.python import PythonTree
from xgbpatch.oci.filesystem import FileTree
from xgbpatch.oci.image import RemoteImage
from xgbpatch.oci.layer_index import Entry, EntryKind, LayerIndex, index_layer
from xgbpatch.oci.manifest import Descriptor
from xgbpatch.progress import Progress
from xgbpatch.registry.blobs import BlobStore

_KINDS = {kind.value: kind for kind in EntryKind}  # a layer has tens of thousands of entries
CACHE_FORMAT = 1  # of these files and of what is kept in them (`oci/layer_index.py`): raise it when either changes


def load_layer(blobs: BlobStore, descriptor: Descriptor, folder: Path | None, progress: Progress) -> LayerIndex:
    """The layer's index, from the cache `folder` where it is kept. Raises as `index_layer` and `blobs`."""
    path = folder / f"{descriptor.digest.removeprefix('sha256:')}-{CACHE_FORMAT}.json.gz" if folder else None
    index = cache.read(path, _parse)
    if index is not None:
        return index

    def counted(pieces: Iterator[bytes]) -> Iterator[bytes]:
        done = 0
        for piece in pieces:
            done += len(piece)
            progress.update(f"Reading layer {descriptor.digest[7:19]}", done, descriptor.size)
            yield piece

    with blobs.opened(descriptor.digest) as pieces:
        index = index_layer(counted(pieces), descriptor)
    document = {
        "entries": [[name, *entry] for name, entry in index.entries.items()],
        "whiteouts": sorted(index.whiteouts),
        "opaque": sorted(index.opaque),
        "contents": {name: base64.b64encode(content).decode() for name, content in index.contents.items()},
    }
    cache.write(path, document)
    return index


def _parse(document: Any) -> LayerIndex:
    """Raises `ValueError`, `TypeError`, `KeyError` or `AttributeError` for what `load_layer` did not write."""
    return LayerIndex(
        entries=dict(_entry(*row) for row in document["entries"]),
        whiteouts=frozenset(_texts(document["whiteouts"])),
        opaque=frozenset(_texts(document["opaque"])),
        contents={name: base64.b64decode(text, validate=True) for name, text in document["contents"].items()},
    )


def _entry(name: Any, kind: Any, mode: Any, size: Any, link: Any) -> tuple[str, Entry]:
    if type(name) is not str or type(link) is not str or type(mode) is not int or type(size) is not int:
        raise TypeError("not an entry of a layer")
    return name, Entry(_KINDS[kind], mode, size, link)


def _texts(value: Any) -> list[str]:
    if type(value) is not list or not all(type(text) is str for text in value):
        raise TypeError("not a list of texts")
    return value


# Inspecting a base from its layers, newest first: the same facts as running it gives, and nothing is run or unpacked.
#
# Layers are read until older ones cannot change the answer. That rests on one assumption: what belongs to an
# installed Python (its packages, its scripts, what it imports) is not older than the layer that brought the Python's
# prefix. That layer holds the first file of the prefix (`os.py` of the standard library, `pyvenv.cfg` of an
# environment) and takes nothing away below it; a layer that replaces an older Python does take files away, and the
# search goes on. So CUDA's and the operating system's layers stay unread, unless glibc's version stands nowhere else:
# it is that of the newest layer with dpkg's records or with `libc.so.6` itself.


FORMAT = 2  # of the facts that are kept: raise it when what is seen in the same layers changes

_COMMANDS = ("serve", "train")
_PACKAGES = ("sagemaker_xgboost_container", "sagemaker_algorithm_toolkit")
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_LIBC = re.compile(r"(usr/)?lib(64)?/([^/]+-linux-gnu/)?libc(\.so\.6|-2\.\d+\.so)")
_DPKG = "var/lib/dpkg/status"


def inspect(image: RemoteImage, blobs: BlobStore, folder: Path | None, progress: Progress) -> Facts:
    """The facts of `image`, from the cache `folder` where it was inspected before; layers are kept there too.

    Raises `BaseImageError` when it is no SageMaker XGBoost image, or one of which files do not tell enough,
    `RegistryError` and `AwsError` when its layers cannot be fetched.
    """
    digest = image.reference.digest
    path = folder / "facts" / f"{digest.removeprefix('sha256:')}-layers-{FORMAT}.json.gz" if folder else None
    document = cache.read(path, parse)
    if document is None:
        view = _View(image)
        for descriptor in reversed(image.layers):
            layer = load_layer(blobs, descriptor, folder / "layers" if folder else None, progress)
            view = replace(view, layers=(*view.layers, layer))
            if _settled(view):
                break
        try:
            document = _document(view)
        except BaseImageError as error:
            raise BaseImageError(f'"{image.reference}": {error.message}', error.next_step) from error
        cache.write(path, document)
    facts = facts_of(document, digest, image.environment, image.labels)
    refuse_incomplete(str(image.reference), facts)
    return facts


@dataclass(frozen=True)
class _View:
    """An image as the layers tell that were read so far, newest first."""

    image: RemoteImage
    layers: tuple[LayerIndex, ...] = ()

    @cached_property
    def tree(self) -> FileTree:
        return FileTree(self.layers)

    @cached_property
    def python(self) -> PythonTree:
        return inspection_python.find_python(self.tree, self.image.environment)

    def command(self, name: str) -> str:
        return inspection_python.which(self.tree, self.image.environment, name)

    def package(self, name: str) -> str:
        """The folder of a package, where Python would import it from; empty where it is not there."""
        folder = str((self.image.config.get("config") or {}).get("WorkingDir") or "/")
        listed = self.image.environment.get("PYTHONPATH", "").split(":")
        paths = [folder, *(posixpath.join(folder, path) for path in listed), *self.python.site_folders]
        return inspection_python.package_root(self.tree, paths, name)

    @property
    def glibc(self) -> str:
        """`major.minor`, of the newest layer that tells it; empty where none does."""
        return next((version for layer in self.layers for version in _libc_versions(layer)), "")


def _settled(view: _View) -> bool:
    """Whether no older layer can change the answer: nothing is missing, and one of these layers brings the prefix's
    first file and takes nothing of an older prefix away."""
    if not (all(view.command(name) for name in _COMMANDS) and view.glibc):
        return False
    try:
        python = view.python
    except BaseImageError:
        return False
    if not all(view.package(name) for name in _PACKAGES):
        return False
    mark = view.tree.resolve(python.mark)[1:]
    below = f"{view.tree.resolve(python.prefix)[1:]}/"
    return any(
        mark in layer.entries and not any(path.startswith(below) for path in (*layer.whiteouts, *layer.opaque))
        for layer in view.layers
    )


def _document(view: _View) -> dict[str, Any]:
    """As the probe would print it."""
    python, tree = view.python, view.tree
    facts = PythonFacts(
        version=python.version,
        executable=python.executable,
        prefix=python.prefix,
        site_packages=python.site_packages,
        machine=_MACHINES.get(view.image.architecture, view.image.architecture),
        glibc=view.glibc,
    )
    places = inspection_python.folders(tree, python)
    importable = inspection_python.top_levels(tree, places)
    return {
        "python": asdict(facts),
        "distributions": [asdict(each) for each in inspection_python.distributions(tree, places)],
        "modules": {
            name: module
            for package in _PACKAGES
            if (root := view.package(package))
            for name, module in inspection_python.modules(tree, root, package)
        },
        "top_levels": sorted(importable),
        "commands": {name: view.command(name) for name in _COMMANDS},
        "complaints": inspection_python.complaints(tree, places, facts) if "pip" in importable else None,
    }


def _libc_versions(layer: LayerIndex) -> list[str]:
    """What the layer tells of the C library, by its own file first; the newest first, should it hold several."""
    files = {content.decode() for path, content in layer.contents.items() if content and _LIBC.fullmatch(path)}
    recorded = layer.contents.get(_DPKG, b"").decode()
    ordered = sorted(files, key=lambda version: [int(part) for part in version.split()[0].split(".")], reverse=True)
    return [version.split()[0] for version in ordered] + ([recorded] if recorded else [])
