"""From a version's name to a stand-in base in the engine: operating system, runtime, image, each only when needed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO

from xgbpatch.engine.client import BuildRequest, Engine
from xgbpatch.engine.values import LocalImage
from xgbpatch.errors import BuildError, EngineError
from xgbpatch.progress import Progress
from xgbpatch.reference import ImageReference
from xgbpatch.standin import parts, recipe
from xgbpatch.standin.interpreter import find_interpreter
from xgbpatch.standin.os_tree import debian_tree, this_debian, write_tree
from xgbpatch.standin.own_wheel import write_own_wheel
from xgbpatch.standin.recipe import DIFFERENCES_LABEL, INPUTS_LABEL, VERSION_LABEL, Layout
from xgbpatch.standin.tree import TreeWriter
from xgbpatch.standin.versions import standin_version
from xgbpatch.standin.wheelhouse import fill_wheelhouse

_PLATFORM = "linux/amd64"
_REVISION = "1"  # raise it when a part's content changes by code and not by its inputs


@dataclass(frozen=True)
class _Site:
    """Where a build happens and where it tells."""

    engine: Engine
    progress: Progress


def standin_reference(version: str) -> ImageReference:
    """The local name of a version's stand-in base."""
    return ImageReference("", "xgbpatch-standin/sagemaker-xgboost", version)


def build_standin(engine: Engine, version: str, progress: Progress) -> LocalImage:
    """The stand-in base of `version`, built where the engine lacks it or anything it is made of has changed.

    Raises `ConfigurationError` for an unknown version, `SandboxError` where this machine lacks what it takes, and
    `BuildError` with the engine's words.
    """
    site = _Site(engine, progress)
    row = standin_version(version)
    layout = Layout(row, find_interpreter(row.python))
    _tell_substitute(layout, progress)
    os_image = _os_image(site)
    return _image(site, layout, _runtime(site, layout, os_image))


def _os_image(site: _Site) -> LocalImage:
    debian = this_debian()
    inputs = _digest(debian.suite.name, *debian.suite.packages, recipe.render_os(""))
    tag = ImageReference("", "xgbpatch-standin/os", debian.suite.name)

    def write(context: TreeWriter) -> None:
        with debian_tree(debian, site.progress) as root, TemporaryFile() as tar:
            write_tree(root, tar)
            context.stream("root.tar", tar)

    return _built(site, _Part(tag, inputs, recipe.render_os(inputs), write))


def _runtime(site: _Site, layout: Layout, os_image: LocalImage) -> LocalImage:
    version = layout.version
    dockerfile = recipe.render_runtime(layout, os_image.id, "")
    python = (layout.interpreter.version, str(layout.interpreter.executable))
    inputs = _digest(*python, *version.packages, dockerfile, recipe.template_text("ExecutionParameters.java"))
    tag = ImageReference("", "xgbpatch-standin/runtime", version.name)

    def write(context: TreeWriter) -> None:
        wheelhouse = fill_wheelhouse(version.packages, layout.interpreter, site.progress)
        parts.write_interpreter(context, layout, "interpreter")
        with TemporaryDirectory(prefix="xgbpatch-packages-") as scratch:
            parts.write_packages(context, layout, wheelhouse, Path(scratch))

    return _built(site, _Part(tag, inputs, recipe.render_runtime(layout, os_image.id, inputs), write))


def _image(site: _Site, layout: Layout, runtime: LocalImage) -> LocalImage:
    moved = fill_wheelhouse(layout.version.packages, layout.interpreter, site.progress).moved
    labels = {VERSION_LABEL: layout.version.name, DIFFERENCES_LABEL: recipe.differences(layout, moved)}
    inputs = _digest(
        recipe.render_image(layout, runtime.id, labels), recipe.template_text("config.properties.tmp"), _own_digest()
    )
    dockerfile = recipe.render_image(layout, runtime.id, {**labels, INPUTS_LABEL: inputs})

    def write(context: TreeWriter) -> None:
        with TemporaryDirectory(prefix="xgbpatch-own-") as scratch:
            parts.write_own(context, layout, Path(scratch))

    return _built(site, _Part(standin_reference(layout.version.name), inputs, dockerfile, write))


@dataclass(frozen=True)
class _Part:
    """One image to build: its tag, the digest of all it is made of, its Dockerfile, and what writes the rest."""

    tag: ImageReference
    inputs: str
    dockerfile: str
    write: Callable[[TreeWriter], None]


def _built(site: _Site, part: _Part) -> LocalImage:
    held = site.engine.image(part.tag)
    if held is not None and held.labels.get(INPUTS_LABEL) == part.inputs:
        return held
    site.progress.line(f"building {part.tag}")
    with _context(part) as context:
        built = site.engine.build(BuildRequest(context, _PLATFORM, part.tag), site.progress)
    if held is not None and held.id != built.id:
        _drop_superseded(site.engine, held)
    return built


def _drop_superseded(engine: Engine, image: LocalImage) -> None:
    """Free its gigabyte, unless something still stands on it: then the engine refuses, and that is right."""
    with suppress(EngineError):
        engine.remove(image.id)


@contextmanager
def _context(part: _Part) -> Iterator[IO[bytes]]:
    """The build context in a file without a name, so that nothing of it outlives the process."""
    with TemporaryFile(prefix="xgbpatch-context-") as file:
        try:
            with TreeWriter(file) as tree:
                tree.text("Dockerfile", part.dockerfile)
                part.write(tree)
            file.seek(0)
        except OSError as error:
            raise BuildError(
                f'the context of "{part.tag}" could not be written: {error}', "It takes 3 GB in TMPDIR; is there room?"
            ) from error
        yield file


def _own_digest() -> str:
    with TemporaryDirectory(prefix="xgbpatch-own-") as folder:
        return hashlib.sha256(write_own_wheel(Path(folder)).read_bytes()).hexdigest()


def _digest(*inputs: str) -> str:
    return hashlib.sha256("\n".join((_REVISION, *inputs)).encode()).hexdigest()


def _tell_substitute(layout: Layout, progress: Progress) -> None:
    have, want = layout.interpreter.version, layout.version.python
    if layout.interpreter.minor != want:
        progress.line(f"no Python {want} here: the stand-in base of {layout.version.name} runs on {have}, the nearest")
