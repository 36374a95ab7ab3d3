"""The three ways to a patched image, each with the same four steps: first, second, nothing to do, rebase."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from support.bench import grounds
from support.bench.measuring import Command, CountingProxy, Figures, Meter, counted
from xgbpatch.build import dockerfile
from xgbpatch.build.registry import RegistryBuilder
from xgbpatch.build.resolve import resolve
from xgbpatch.commands import _context
from xgbpatch.reference import ImageReference
from xgbpatch.spec import Spec, UserFile

STEPS = ("first patch", "second patch", "nothing to do", "rebase")
TARGET = "bench/patched"
_FEATURES = (("shap",), ("shap", "training"), ("shap", "training"), ("shap", "training"))  # step by step
_NOTHING, _REBASE = 2, 3
_XGBPATCH = (sys.executable, "-m", "xgbpatch")


@dataclass(frozen=True)
class Site:
    """Where a way is gone: the program of the registry, a folder, the source registry's port and a proxy before it."""

    program: str
    folder: Path
    source_port: int
    source: CountingProxy

    @property
    def base(self) -> str:
        return f"{self.source.host}/{grounds.REPOSITORY}:{grounds.TAG}"

    @property
    def module(self) -> Path:
        """A file of the user's, which all images but the first carry: their layer is another one."""
        return self.folder / "preprocessing.py"


@dataclass(frozen=True)
class Step:
    """What one step of one way cost, and how many bytes were its own: layer, configuration and manifest."""

    way: str
    name: str
    figures: Figures
    sent_to_target: int
    own: int


@dataclass(frozen=True)
class Run:
    """A way under way: an empty target registry, and a meter whose outputs tell what was made so far."""

    site: Site
    target: CountingProxy
    meter: Meter

    def build(self, number: int, *more: str) -> Command:
        """`xgbpatch build` of the step of that number."""
        return Command([
            *_XGBPATCH, "build", "--version", "3.2-0", "--base-image", self.site.base, "--repository", TARGET,
            "--feature", ",".join(_FEATURES[number]), *(("--file", str(self.site.module)) if number else ()),
            "--quiet", *more,
        ])  # fmt: skip


@dataclass(frozen=True)
class Way:
    """How the image is made: the commands of a step, and whether they need an engine."""

    name: str
    commands: Callable[[Run, int], list[Command]]
    with_engine: bool


def _docker_builder(run: Run, number: int) -> list[Command]:
    return [run.build(number), Command([*_XGBPATCH, "push", "--registry", run.target.host, "--quiet"])]


def _registry_builder(run: Run, number: int) -> list[Command]:
    if number == _REBASE:
        return [Command([*_XGBPATCH, "rebase", run.meter.outputs[-1], "--quiet"])]
    return [run.build(number, "--builder", "registry", "--registry", run.target.host, "--no-attach-sbom")]


def _by_hand(run: Run, number: int) -> list[Command]:
    name = f"{run.target.host}/{TARGET}:{number - 1 if number == _NOTHING else number}"
    build = Command(["docker", "build", "--quiet", "--tag", name, "-"], _rendered(run.site, number))
    return [build, Command(["docker", "push", "--quiet", name])]


WAYS = (
    Way("docker builder", _docker_builder, with_engine=True),
    Way("registry builder", _registry_builder, with_engine=False),
    Way("docker by hand", _by_hand, with_engine=True),
)


def walk(way: Way, site: Site, base: grounds.Base) -> Iterator[Step]:
    """The steps of a way, from an empty engine, an empty cache and an empty target registry."""
    grounds.point(site.source_port, grounds.FIRST)
    site.module.write_text("def scaled(row):\n    return [value / 2 for value in row]\n")
    folder = site.folder / way.name.replace(" ", "-")
    with ExitStack() as stack:
        target = stack.enter_context(counted(stack.enter_context(grounds.registry(site.program, folder / "target"))))
        process, address = (
            stack.enter_context(grounds.engine(folder / "engine")) if way.with_engine else (0, "unix:///")
        )
        run = Run(site, target, Meter(_environment(folder, address), (site.source, target), process))
        for number, name in enumerate(STEPS):
            if number == _REBASE:
                grounds.point(site.source_port, grounds.MOVED)
            commands, before = way.commands(run, number), target.sent
            figures = run.meter.measure(commands)
            sent_bytes = target.sent - before
            yield Step(way.name, name, figures, sent_bytes, _own_bytes(run, number, base))
    shutil.rmtree(folder)


def _own_bytes(run: Run, number: int, base: grounds.Base) -> int:
    """Of the image that the last command printed; nothing where nothing was to be done."""
    if number == _NOTHING:
        return 0
    image = ImageReference.parse(run.meter.outputs[-1].splitlines()[-1])
    return grounds.own_bytes(run.target.host, TARGET, image.digest or image.tag, base.layers)


def _environment(folder: Path, engine: str) -> dict[str, str]:
    """This process's, with a cache, a Docker configuration and an engine of its own."""
    for name in ("cache", "docker"):
        (folder / name).mkdir(parents=True)
    return {
        **os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "DOCKER_CONFIG": str(folder / "docker"),
        "DOCKER_HOST": engine, "DOCKER_BUILDKIT": "0", "AWS_REGION": "us-west-2",
    }  # fmt: skip


def _rendered(site: Site, number: int) -> Path:
    """The build context that xgbpatch renders for a step, in a file: who builds by hand has it already."""
    base = ImageReference.parse(site.base)
    files = (UserFile(site.module, site.module.name),) if number else ()
    spec = Spec("3.2-0", "us-west-2", base_image=base, repository=TARGET, features=_FEATURES[number], files=files)
    with _context.services(quiet=True) as services:
        definition = RegistryBuilder(services).define(spec, resolve(spec, services.registry))
    text = dockerfile.of_definition(definition)
    path = site.folder / "context.tar"
    with dockerfile.packed_context(text, definition.patch) as stream, path.open("wb") as file:
        shutil.copyfileobj(stream, file)
    return path
