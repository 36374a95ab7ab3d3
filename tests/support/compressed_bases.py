"""The bases as a registry stores them, kept in the user's cache: for each push of a gigabyte that a registry does not
hold yet, the engine compresses it first, which takes a core a minute."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from support.registries import Kind, LoopbackRegistry, registry
from xgbpatch.engine.client import Engine, afterwards
from xgbpatch.progress import Silent
from xgbpatch.reference import ImageReference
from xgbpatch.util import locked_path

REPOSITORY = "sagemaker-xgboost"  # AWS's name of it
_UNUSED_SECONDS = 7 * 24 * 3600
_SMALL = 1 << 20


@contextmanager
def serving(engine: Engine, base: str, version: str, folder: Path) -> Iterator[LoopbackRegistry]:
    """A registry that holds the base as `sagemaker-xgboost:<version>` and takes nothing else."""
    (folder / "blobs").symlink_to(_stored(engine, base, version))
    with registry(folder, Kind(readonly=True)) as started:
        yield started


def add_layers(engine: Engine, base: str, version: str, store: Path, repository: str) -> None:
    """The base's layers alone into a repository of another registry's store, so that a push finds them there.

    They are the same files.
    """
    source, target = (folder / "docker/registry/v2" for folder in (_stored(engine, base, version), store))
    layers = (f"repositories/{REPOSITORY}/_layers", f"repositories/{repository}/_layers")
    for origin, copy in (("blobs", "blobs"), layers):
        shutil.copytree(source / origin, target / copy, copy_function=_linked, dirs_exist_ok=True)


def _stored(engine: Engine, base: str, version: str) -> Path:
    """The storage folder for this very image, filled by the first process that asks; those unused for a week go."""
    image = engine.image(base)
    assert image is not None
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xgbpatch" / "test-bases"
    root.mkdir(parents=True, exist_ok=True)
    folder = root / f"{version}-{image.id[7:19]}"
    with locked_path(root):
        if not folder.is_dir():
            with TemporaryDirectory(dir=root) as scratch, registry(Path(scratch)) as filling:
                _push(engine, image.id, filling.reference(f"{REPOSITORY}:{version}"))
                (Path(scratch) / "blobs").rename(folder)
        os.utime(folder)
        for other in root.iterdir():
            if other.stat().st_mtime < time.time() - _UNUSED_SECONDS:
                shutil.rmtree(other)
    return folder


def _push(engine: Engine, image: str, name: ImageReference) -> None:
    engine.tag(image, name)
    with afterwards(lambda: engine.remove(name)):
        engine.push(name, None, Silent())


def _linked(source: str, target: str) -> None:
    """A registry replaces layers as a whole, but writes links into the file that is there: those are copied. What
    another repository of the store has is there already."""
    if os.path.exists(target):
        return
    if os.stat(source).st_size > _SMALL:
        try:
            os.link(source, target)
        except OSError:  # another file system
            os.symlink(source, target)
    else:
        shutil.copyfile(source, target)
