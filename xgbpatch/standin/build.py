"""The stand-in base: its files, its Dockerfiles, its image."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO

from xgbpatch.cache import sha256_of
from xgbpatch.engine.client import Engine
from xgbpatch.engine.types import LocalImage
from xgbpatch.errors import BuildError, EngineError
from xgbpatch.progress import Progress
from xgbpatch.reference import ImageReference
from xgbpatch.standin import parts
from xgbpatch.standin.parts import Interpreter, Prefix, Wheelhouse, cache_folder, fill_wheelhouse
from xgbpatch.standin.versions import StandinVersion, standin_version
from xgbpatch.util import locked_path

_MTIME = 1704067200  # 2024-01-01: bytecode records it, so it must not be the day of the build


class TreeWriter:
    """Adds folders, files and links to a tar; everything belongs to root and has one date."""

    def __init__(self, target: IO[bytes]) -> None:
        self._tar = tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed by `__exit__`

    def __enter__(self) -> TreeWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()

    def text(self, name: str, content: str, mode: int = 0o644) -> None:
        """A file with that content."""
        encoded = content.encode()
        entry = _entry(name, mode)
        entry.size = len(encoded)
        self._tar.addfile(entry, io.BytesIO(encoded))

    def file(self, name: str, source: Path) -> None:
        """A copy of `source`, executable where that is."""
        entry = _entry(name, 0o755 if source.stat().st_mode & 0o100 else 0o644)
        entry.size = source.stat().st_size
        with source.open("rb") as stream:
            self._tar.addfile(entry, stream)

    def stream(self, name: str, content: IO[bytes]) -> None:
        """A file with everything that was written to `content`."""
        entry = _entry(name, 0o644)
        entry.size = content.seek(0, io.SEEK_END)
        content.seek(0)
        self._tar.addfile(entry, content)

    def link(self, name: str, target: str) -> None:
        """A symbolic link."""
        entry = _entry(name, 0o777)
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        self._tar.addfile(entry)

    def folder(self, name: str, source: Path, keep: Callable[[Path], bool] = lambda _: True) -> None:
        """Everything below `source` whose path relative to it `keep` accepts, in sorted order."""
        for path in sorted(source.iterdir()):
            self._member(f"{name}/{path.name}", path, Path(path.name), keep)

    def _member(self, name: str, path: Path, relative: Path, keep: Callable[[Path], bool]) -> None:
        if not keep(relative) or (path.is_symlink() and not path.exists()):
            return
        if path.is_dir():
            for child in sorted(path.iterdir()):
                self._member(f"{name}/{child.name}", child, relative / child.name, keep)
        else:
            self.file(name, path)


def _entry(name: str, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name.lstrip("/"))
    entry.mode, entry.mtime = mode, _MTIME
    return entry


# What goes into the images, as trees that mirror their file system.


_NOT_WANTED = {
    "__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "site-packages",
}  # fmt: skip
_NOT_WANTED_FILE = re.compile(r".*\.(pyc|a)|_tkinter.*|turtle\.py|sitecustomize\.py|EXTERNALLY-MANAGED")

_TOLERANT_JAVA = """#!/bin/sh
# The base's Java 8 knows -XX:+UseParNewGC, which `serve` passes; this newer one must not stop at it.
exec /usr/bin/java -XX:+IgnoreUnrecognizedVMOptions "$@"
"""


def write_interpreter(tree: TreeWriter, layout: ImageLayout) -> None:
    """The interpreter, and the virtual environment where the layout has one."""
    interpreter, home = layout.interpreter, layout.home
    name = f"python{interpreter.minor}"
    tree.file(f"{home}/bin/{name}", interpreter.executable)
    tree.folder(layout.stdlib, interpreter.stdlib, _keep)
    if interpreter.library is not None:
        tree.file(f"/usr/lib/{interpreter.library.name}", interpreter.library)
    if layout.venv:
        _write_venv(tree, layout)
    tree.link(f"{layout.prefix.path}/bin/python3", name)
    tree.link(f"{layout.prefix.path}/bin/python", name)


def write_packages(tree: TreeWriter, layout: ImageLayout, wheelhouse: Wheelhouse, scratch: Path) -> None:
    """Every wheel, installed; `scratch` is an empty folder with room for a gigabyte."""
    for wheel in wheelhouse.wheels:
        parts.install_wheel(wheel, layout.prefix, scratch)
    tree.folder("", scratch)
    tree.text(f"{PLUGIN_SOURCE}/ExecutionParameters.java", template_text("ExecutionParameters.java"))


def write_own(tree: TreeWriter, layout: ImageLayout, scratch: Path) -> None:
    """AWS's packages as we wrote them, whose `serve` replaces that of sagemaker-containers, and what MMS reads."""
    root = scratch / "root"
    parts.install_wheel(parts.write_own_wheel(scratch), layout.prefix, root)
    tree.folder("own", root)
    if layout.version.java == 8:
        tree.text("own/usr/local/bin/java", _TOLERANT_JAVA, mode=0o755)
    tree.text("own/home/model-server/config.properties.tmp", template_text("config.properties.tmp"))


def _write_venv(tree: TreeWriter, layout: ImageLayout) -> None:
    prefix, interpreter = layout.prefix, layout.interpreter
    tree.link(prefix.executable, f"{layout.home}/bin/python{interpreter.minor}")
    tree.link(f"{prefix.path}/lib64", "lib")
    configuration = f"home = {layout.home}/bin\ninclude-system-site-packages = false\nversion = {interpreter.version}\n"
    tree.text(f"{prefix.path}/pyvenv.cfg", configuration)


def _keep(path: Path) -> bool:
    debug = path.name.startswith("config-") and len(path.parts) == 1
    return path.name not in _NOT_WANTED and not debug and not _NOT_WANTED_FILE.fullmatch(path.name)


# The Dockerfiles of a stand-in base, rendered from `templates/`; values in, text out.


PLUGIN_SOURCE = "/usr/share/xgbpatch-standin/plugin"  # compiled in the image: its Java brings the compiler
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INPUTS_LABEL = "io.xgbpatch.standin.inputs"
VERSION_LABEL = "io.xgbpatch.standin"
DIFFERENCES_LABEL = "io.xgbpatch.standin.differences"


@dataclass(frozen=True)
class ImageLayout:
    """A version on the Python that this machine has: where things lie in the image.

    `venv` is the version's, or forced by a Python of the system, which finds its packages only that way.
    """

    version: StandinVersion
    interpreter: Interpreter

    @property
    def venv(self) -> bool:
        return self.version.venv or self.interpreter.distribution

    @property
    def prefix(self) -> Prefix:
        return Prefix(self.version.prefix, self.interpreter.minor)

    @property
    def home(self) -> str:
        """The prefix of the interpreter itself."""
        return "/usr" if self.venv else self.version.prefix

    @property
    def stdlib(self) -> str:
        return f"{self.home}/lib/python{self.interpreter.minor}"

    @property
    def site_packages(self) -> str:
        """As the environment of the official image writes it."""
        return self.version.site_packages.replace(f"python{self.version.python}", f"python{self.interpreter.minor}")


def render_os(inputs: str) -> str:
    """The Dockerfile that turns `root.tar` into an image."""
    return _render("os.Dockerfile.j2", {"inputs": inputs})


def render_runtime(layout: ImageLayout, os_image: str, inputs: str) -> str:
    """Interpreter and packages on the operating system; the images' own repairs of two packages included."""
    minor = int(layout.interpreter.minor.split(".")[1])
    return _render(
        "runtime.Dockerfile.j2",
        {
            "os": os_image,
            "plugin": PLUGIN_SOURCE,
            "inputs": inputs,
            "executable": layout.prefix.executable,
            "stdlib": layout.stdlib,
            "site_packages": layout.prefix.site_packages,
            "python_is_newer_than_collections": minor >= 10,
            "refuses_pickled_arrays": layout.version.name.startswith("3."),
        },
    )


def render_image(layout: ImageLayout, runtime: str, labels: Mapping[str, str]) -> str:
    """AWS's packages as we wrote them, the environment, and the labels, last."""
    environment = {"PATH": f"{layout.prefix.path}/bin:{_SYSTEM_PATH}", **layout.version.environment}
    filled = {name: value.replace("{site_packages}", layout.site_packages) for name, value in environment.items()}
    return _render(
        "image.Dockerfile.j2",
        {
            "runtime": runtime,
            "executable": layout.prefix.executable,
            "site_packages": layout.prefix.site_packages,
            "environment": filled.items(),
            "labels": {**layout.version.labels, **labels}.items(),
        },
    )


def differences(layout: ImageLayout, moved: tuple[str, ...]) -> str:
    """What a reader must know that is not as in the official image."""
    version, interpreter = layout.version, layout.interpreter
    here = () if interpreter.minor == version.python else (f"Python {interpreter.version} and not {version.python}",)
    return "; ".join((*version.differences, *here, *moved))


def template_text(name: str) -> str:
    """A file of `templates/` that goes into the image as it is."""
    return files(__package__).joinpath(f"templates/{name}").read_text(encoding="utf-8")


def _render(template: str, context: Mapping[str, object]) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - a Dockerfile is no HTML
    )
    return environment.get_template(template).render(context)


# From a version's name to a stand-in base in the engine: operating system, runtime, image, each only when needed.


_PLATFORM = "linux/amd64"
_REVISION = "1"  # raise it when a part's content changes by code and not by its inputs


def standin_reference(version: str) -> ImageReference:
    """The local name of a version's stand-in base."""
    return ImageReference("", "xgbpatch-standin/sagemaker-xgboost", version)


def build_standin(engine: Engine, version: str, progress: Progress) -> LocalImage:
    """The stand-in base of `version`, built where the engine lacks it or anything it is made of has changed.

    Two processes of a user take turns: the second finds what the first made.
    Raises `ConfigurationError` for an unknown version, `SandboxError` where this machine lacks what it takes, and
    `BuildError` with the engine's words.
    """
    row = standin_version(version)
    layout = ImageLayout(row, parts.find_interpreter(row.python))
    if layout.interpreter.minor != row.python:
        instead = f"the stand-in base of {version} runs on {layout.interpreter.version}, the nearest"
        progress.line(f"no Python {row.python} here: {instead}")
    cache_folder().mkdir(parents=True, exist_ok=True)
    with locked_path(cache_folder()):
        runtime = _runtime(engine, progress, layout, _os_image(engine, progress))
        return _image(engine, progress, layout, runtime)


def _os_image(engine: Engine, progress: Progress) -> LocalImage:
    debian = parts.this_debian()
    inputs = _digest(debian.name, *debian.packages, render_os(""))
    tag = ImageReference("", "xgbpatch-standin/os", debian.name)

    def write(context: TreeWriter) -> None:
        with parts.debian_tree(debian, progress) as root, TemporaryFile() as tar:
            parts.write_tree(root, tar)
            context.stream("root.tar", tar)

    return _built(engine, progress, tag, inputs, dockerfile=render_os(inputs), write=write)


def _runtime(engine: Engine, progress: Progress, layout: ImageLayout, os_image: LocalImage) -> LocalImage:
    version = layout.version
    dockerfile = render_runtime(layout, os_image.id, "")
    python = (layout.interpreter.version, str(layout.interpreter.executable))
    inputs = _digest(*python, *version.packages, dockerfile, template_text("ExecutionParameters.java"))
    tag = ImageReference("", "xgbpatch-standin/runtime", version.name)

    def write(context: TreeWriter) -> None:
        wheelhouse = fill_wheelhouse(version.packages, layout.interpreter, progress)
        with TemporaryFile() as tar:  # the engine unpacks one archive in the image; of files it reads each three times
            with TreeWriter(tar) as tree, TemporaryDirectory(prefix="xgbpatch-packages-") as scratch:
                write_interpreter(tree, layout)
                write_packages(tree, layout, wheelhouse, Path(scratch))
            context.stream("root.tar", tar)

    dockerfile = render_runtime(layout, os_image.id, inputs)
    return _built(engine, progress, tag, inputs, dockerfile=dockerfile, write=write)


def _image(engine: Engine, progress: Progress, layout: ImageLayout, runtime: LocalImage) -> LocalImage:
    moved = fill_wheelhouse(layout.version.packages, layout.interpreter, progress).moved
    labels = {VERSION_LABEL: layout.version.name, DIFFERENCES_LABEL: differences(layout, moved)}
    with TemporaryDirectory(prefix="xgbpatch-own-") as folder:
        own = sha256_of(parts.write_own_wheel(Path(folder)))
    inputs = _digest(render_image(layout, runtime.id, labels), template_text("config.properties.tmp"), own)
    dockerfile = render_image(layout, runtime.id, {**labels, INPUTS_LABEL: inputs})

    def write(context: TreeWriter) -> None:
        with TemporaryDirectory(prefix="xgbpatch-own-") as scratch:
            write_own(context, layout, Path(scratch))

    tag = standin_reference(layout.version.name)
    return _built(engine, progress, tag, inputs, dockerfile=dockerfile, write=write)


def _built(
    engine: Engine, progress: Progress, tag: ImageReference, inputs: str, *, dockerfile: str,
    write: Callable[[TreeWriter], None],
) -> LocalImage:  # fmt: skip
    """The image `tag`, made of the Dockerfile and what `write` adds; built where the engine's is of other `inputs`."""
    earlier = engine.image(tag)
    if earlier is not None and earlier.labels.get(INPUTS_LABEL) == inputs:
        return earlier
    progress.line(f"building {tag}")
    with TemporaryFile(prefix="xgbpatch-context-") as context:  # no name, so that it never outlives the process
        try:
            with TreeWriter(context) as tree:
                tree.text("Dockerfile", dockerfile)
                write(tree)
        except OSError as error:
            raise BuildError(
                f'the context of "{tag}" could not be written: {error}', "It takes 3 GB in TMPDIR; is there room?"
            ) from error
        image = engine.build(context, _PLATFORM, progress, tag=tag)
    if earlier is not None and earlier.id != image.id:
        with suppress(EngineError):  # where something still stands on it, the engine refuses, and that is right
            engine.remove(earlier.id)
    return image


def _digest(*inputs: str) -> str:
    return hashlib.sha256("\n".join((_REVISION, *inputs)).encode()).hexdigest()
