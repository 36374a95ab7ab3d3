"""Documents from a cache or an image are used only after the type of every field was checked."""

from __future__ import annotations

import copy
import gzip
import hashlib
import json
from contextlib import contextmanager
from typing import Any

import pytest

from support.layers import WHITEOUT, Link, tar_of
from xgbpatch.inspection import container, facts, layers
from xgbpatch.oci.manifest import DOCKER_LAYER, Descriptor
from xgbpatch.progress import Silent
from xgbpatch.reference import ImageReference

FACTS: dict[str, Any] = {
    "python": {
        "version": "3.12.8", "executable": "/p/bin/python", "prefix": "/p", "site_packages": "/p/s",
        "machine": "x86_64", "glibc": "2.36",
    },
    "distributions": [{"name": "xgboost", "version": "3.2.0", "requires": ["numpy"]}],
    "modules": {"a.b": {"path": "/p/s/a/b.py", "sha256": "0" * 64, "source": "x = 1\n"}},
    "top_levels": ["a"],
    "commands": {"serve": "/p/bin/serve", "train": ""},
    "complaints": None,
}  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every value of a document, itself included."""
    paths = [path]
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()):
        paths += places(inner, (*path, key))
    return paths


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    result = copy.deepcopy(document)
    parent = result
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return result


def test_the_facts_of_a_base_are_taken():
    facts.facts_of(facts.parse(FACTS), "sha256:0", {}, {})
    facts.parse({**FACTS, "complaints": ["a 1 requires b"]})
    facts.parse(changed(FACTS, ("distributions", 0, "name"), None))


@pytest.mark.parametrize("path", places(FACTS), ids=lambda path: ".".join(map(str, path)) or "all")
@pytest.mark.parametrize("value", [5, True, [None], {"x": 5}], ids=["number", "bool", "list", "dict"])
def test_facts_with_a_value_of_another_type_are_refused(path, value):
    with pytest.raises(ValueError, match="not the facts"):
        facts.parse(changed(FACTS, path, value))


@pytest.mark.parametrize("name", FACTS)
def test_facts_that_lack_a_part_are_refused(name):
    with pytest.raises(ValueError, match="not the facts"):
        facts.parse({key: value for key, value in FACTS.items() if key != name})


@pytest.mark.parametrize("version", ["", "3", "3.x.1", "three"])
def test_facts_of_a_python_without_a_version_are_refused(version):
    with pytest.raises(ValueError, match="not the facts"):
        facts.parse(changed(FACTS, ("python", "version"), version))


@pytest.mark.parametrize("answer", ["", "hello\n", "aGVsbG8=", "eJw="], ids=["none", "text", "not packed", "cut off"])
def test_an_answer_that_is_no_list_of_files_is_refused(answer):
    with pytest.raises((ValueError, container.zlib.error)):
        container.parse_inventory(answer)


class OneLayer:
    """A repository with one layer, which counts how often it is fetched."""

    def __init__(self) -> None:
        status = b"Package: libc6\nVersion: 2.36-9\n"
        files = ("a/link", Link("b")), ("var/lib/dpkg/status", status)
        self.blob = gzip.compress(tar_of([*files, ("a/.wh.gone", WHITEOUT), ("c/.wh..wh..opq", WHITEOUT)]))
        self.reference = ImageReference.parse("registry.example/base:1")
        self.fetched = 0

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(f"sha256:{hashlib.sha256(self.blob).hexdigest()}", DOCKER_LAYER, len(self.blob))

    @contextmanager
    def opened(self, digest: str, offset: int = 0):
        self.fetched += 1
        yield iter([self.blob[offset:]])

    def has(self, digest: str) -> bool:
        return digest == self.descriptor.digest


def loaded(blobs: OneLayer, folder):
    return layers.load_layer(blobs, blobs.descriptor, folder, Silent())


def kept_layer(folder):
    (path,) = folder.iterdir()
    return path, json.loads(gzip.decompress(path.read_bytes()))


def test_a_layer_is_fetched_once(tmp_path):
    blobs = OneLayer()
    first = loaded(blobs, tmp_path)
    assert loaded(blobs, tmp_path) == first
    assert first.contents
    assert first.whiteouts
    assert first.opaque
    assert blobs.fetched == 1


def layer_places() -> list[tuple[Any, ...]]:
    return [
        (), ("entries",), ("entries", 0), *(("entries", 0, number) for number in range(5)), ("whiteouts",),
        ("whiteouts", 0), ("opaque",), ("opaque", 0), ("contents",), ("contents", "var/lib/dpkg/status"),
    ]  # fmt: skip


@pytest.mark.parametrize("path", layer_places(), ids=lambda path: ".".join(map(str, path)) or "all")
@pytest.mark.parametrize("value", [None, True, "x", [1], {"x": 5}], ids=["null", "bool", "text", "list", "dict"])
def test_a_kept_layer_with_a_value_of_another_type_is_fetched_again(tmp_path, path, value):
    if value == "x" and path in (("entries", 0, 0), ("entries", 0, 4), ("whiteouts", 0), ("opaque", 0)):
        return  # a text in the place of a text
    blobs = OneLayer()
    first = loaded(blobs, tmp_path)
    file, document = kept_layer(tmp_path)
    file.write_bytes(gzip.compress(json.dumps(changed(document, path, value)).encode()))
    assert loaded(blobs, tmp_path) == first
    assert blobs.fetched == 2
    assert kept_layer(tmp_path)[1] == document


def test_layers_are_read_where_nothing_can_be_kept(tmp_path):
    (tmp_path / "file").write_text("in the way")
    blobs = OneLayer()
    assert loaded(blobs, tmp_path / "file" / "layers") == loaded(blobs, None)
    assert blobs.fetched == 2
