"""The interpreter of an image and its installed packages, found in a tree of files."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from packaging.utils import canonicalize_name

from xgbpatch.errors import BaseImageError
from xgbpatch.inspection import pip_check
from xgbpatch.inspection.facts import Distribution, PythonFacts, decode_source
from xgbpatch.inspection.pip_check import CoreMetadata
from xgbpatch.layout import DEFAULT_PATH
from xgbpatch.oci.filesystem import FileTree
from xgbpatch.oci.layer_tar import NEXT_STEP

_NAME = re.compile(r"python(3\.\d+)(m?)")
_PATCHLEVEL = re.compile(rb'#define\s+PY_VERSION\s+"(\d+\.\d+\.\d{1,4}[a-z0-9]{0,9}\+?)"')
_SYSTEM_FOLDERS = ("lib", "lib64", "local/lib", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu")  # below /usr


@dataclass(frozen=True)
class PythonTree:
    """An installed interpreter. `base` is the prefix that holds the standard library at `stdlib`, and `prefix` that of
    its environment, or the same; `site_folders` are in the order of `sys.path`."""

    executable: str
    version: str
    prefix: str
    base: str
    stdlib: str
    site_packages: str
    site_folders: tuple[str, ...]

    @property
    def mark(self) -> str:
        """A file that comes with the prefix itself: the layer that brings it is the prefix's first one."""
        return f"{self.stdlib}/os.py" if self.prefix == self.base else f"{self.prefix}/pyvenv.cfg"


def find_python(tree: FileTree, environment: Mapping[str, str]) -> PythonTree:
    """The interpreter named by the first line of `serve`; raises `BaseImageError` where files do not tell it."""
    serve = which(tree, environment, "serve")
    if not serve:
        raise BaseImageError(
            'it is no SageMaker XGBoost image: it lacks command "serve"',
            "Name an official image (xgbpatch versions), one built on it, or the stand-in.",
        )
    executable = _executable(tree, environment, serve)
    real = tree.resolve(executable)
    name = _NAME.fullmatch(posixpath.basename(real))
    if name is None:
        raise _unknown(f'"{executable or "python"}" is no Python 3 that can be told apart')
    minor, abi = name.groups()
    settings = _settings(tree, executable)
    base, library = _base(tree, settings.get("home") or posixpath.dirname(real), minor)
    prefix = posixpath.dirname(posixpath.dirname(executable)) if settings else base
    if prefix == "/usr":
        raise _unknown("its Python is the operating system's, which has rules of its own for where packages lie")
    folders = [f"{prefix}/{folder}/python{minor}/site-packages" for folder in dict.fromkeys((library, "lib"))]
    version = _version(tree, (real, base, minor, abi))
    return PythonTree(executable, version, prefix, base, f"{base}/{library}/python{minor}", folders[-1], tuple(folders))


def which(tree: FileTree, environment: Mapping[str, str], name: str) -> str:
    """The path of the command, as the shell finds it; empty where it is not on PATH."""
    for folder in environment.get("PATH", DEFAULT_PATH).split(":"):
        path = posixpath.join(folder, name)
        entry = tree.entry(path) if folder.startswith("/") else None
        if entry is not None and entry.mode & 0o111 and tree.is_file(path):
            return path
    return ""


def _executable(tree: FileTree, environment: Mapping[str, str], serve: str) -> str:
    """As `container.run_python` chooses it, and as `sys.executable` then names it."""
    line = tree.read(serve).decode("utf-8", "replace").strip()
    words = [word for word in line[2:].split() if "=" not in word and not word.startswith("-")]
    if not (line.startswith("#!") and "python" in line and words):
        return which(tree, environment, "python") or which(tree, environment, "python3")
    program = words[1] if posixpath.basename(words[0]) == "env" and len(words) > 1 else words[0]
    return program if program.startswith("/") else which(tree, environment, program)


def _settings(tree: FileTree, executable: str) -> dict[str, str]:
    """What pyvenv.cfg says; empty where there is none."""
    folder = posixpath.dirname(executable)
    for path in (f"{folder}/pyvenv.cfg", f"{posixpath.dirname(folder)}/pyvenv.cfg"):
        if tree.is_file(path):
            lines = tree.read(path).decode("utf-8", "replace").splitlines()
            return {key.strip().lower(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
    return {}


def _base(tree: FileTree, folder: str, minor: str) -> tuple[str, str]:
    """The prefix above `folder`, and its library folder: `lib64` where the distribution builds Python so."""
    prefix = folder
    while prefix not in ("/", ""):
        for library in ("lib", "lib64"):
            if tree.is_file(f"{prefix}/{library}/python{minor}/os.py"):
                return prefix, library
        prefix = posixpath.dirname(prefix)
    raise _unknown(f'no standard library of Python {minor} stands above "{folder}"')


def _version(tree: FileTree, interpreter: tuple[str, str, str, str]) -> str:
    real, base, minor, abi = interpreter
    header = f"{base}/include/python{minor}{abi}/patchlevel.h"
    if tree.is_file(header) and (match := _PATCHLEVEL.search(tree.read(header))):
        return match[1].decode().rstrip("+")
    folders = dict.fromkeys([f"{base}/lib", f"{base}/lib64", *(f"/usr/{folder}" for folder in _SYSTEM_FOLDERS)])
    libraries = [f"{folder}/libpython{minor}{m}.so.1.0" for folder in folders for m in ("", "m")]
    programs = [path for path in (real, *libraries) if tree.is_file(path)]
    versions = {line.decode().rstrip("+") for path in programs for line in tree.read(path).splitlines()}
    fitting = {version for version in versions if version.startswith(f"{minor}.")}
    if len(fitting) != 1:
        raise _unknown(f'"{real}" does not tell its version: {", ".join(sorted(fitting)) or "none is match"}')
    return fitting.pop()


def _unknown(reason: str) -> BaseImageError:
    return BaseImageError(f"its Python cannot be told from its layers: {reason}", NEXT_STEP)


# What an image's Python has installed, told from files, in the words of `probe/facts.py`.


def folders(tree: FileTree, python: PythonTree) -> list[str]:
    """The site-packages folders that are there, the one for pure Python first."""
    return [folder for folder in dict.fromkeys((python.site_packages, *python.site_folders)) if tree.is_folder(folder)]


def distributions(tree: FileTree, places: Iterable[str]) -> Iterator[CoreMetadata]:
    """The metadata of all that is installed in the folders `places`; of a name found twice the last one counts."""
    for path in _metadata_files(tree, places):
        yield pip_check.parse_metadata(tree.read(path))


def complaints(tree: FileTree, places: Iterable[str], python: PythonFacts) -> tuple[str, ...]:
    """What `pip check` says of it, which knows the requirements of eggs too."""
    installed: list[Distribution] = []
    for path in _metadata_files(tree, places):
        metadata = pip_check.parse_metadata(tree.read(path))
        requires, eggs_own = metadata.requires, f"{posixpath.dirname(path)}/requires.txt"
        if not requires and path.endswith(".egg-info/PKG-INFO") and tree.is_file(eggs_own):
            requires = tuple(pip_check.egg_requirements(tree.read(eggs_own)))
        installed.append(Distribution(canonicalize_name(metadata.name), metadata.version, requires))
    return pip_check.complaints(installed, python)


def top_levels(tree: FileTree, places: Iterable[str]) -> set[str]:
    """The importable names in the folders `places`."""
    names: set[str] = set()
    for folder in places:
        for entry in tree.list(folder):
            name = entry.split(".")[0]
            is_package = "." not in entry and tree.is_folder(f"{folder}/{entry}")
            if name.isidentifier() and (is_package or entry.endswith((".py", ".so"))):
                names.add(name)
    return names


def package_root(tree: FileTree, paths: Iterable[str], package: str) -> str:
    """The folder of the package on the import path `paths`; empty where none of them has it."""
    roots = (posixpath.join(path, package) for path in paths)
    return next((root for root in roots if tree.is_file(f"{root}/__init__.py")), "")


def modules(tree: FileTree, root: str, package: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Dotted name, and path, sha256 and source, of each module below the package's folder."""
    for path in _python_files(tree, root):
        parts = path.removeprefix(f"{root}/").removesuffix(".py").split("/")
        content = tree.read(path)
        yield (
            ".".join([package, *(part for part in parts if part != "__init__")]),
            {
                "path": path,
                "sha256": hashlib.sha256(content).hexdigest(),
                "source": _text(content),
            },
        )


def _text(content: bytes) -> str:
    """Of a module; one that Python would not read is shown all the same."""
    try:
        return decode_source(content)
    except SyntaxError:
        return content.decode("utf-8", "replace")


def _metadata_files(tree: FileTree, places: Iterable[str]) -> Iterator[str]:
    for folder in places:
        names = [name for name in tree.list(folder) if not name.startswith(".")]
        paths = [f"{folder}/{name}/METADATA" for name in names if name.endswith(".dist-info")]
        eggs = [f"{folder}/{name}" for name in names if name.endswith(".egg-info")]
        yield from sorted(path for path in (*paths, *eggs, *(f"{egg}/PKG-INFO" for egg in eggs)) if tree.is_file(path))


def _python_files(tree: FileTree, folder: str) -> Iterator[str]:
    """As `os.walk` finds them: links to folders are not followed."""
    for name in tree.list(folder):
        path = f"{folder}/{name}"
        if not tree.is_folder(path):
            yield from [path] if name.endswith(".py") else []
        elif not tree.is_link(path):
            yield from _python_files(tree, path)
