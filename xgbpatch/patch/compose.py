"""A patch as a value, and composing it: which files land in the image, and which variables switch them in."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import IO

from xgbpatch import layout
from xgbpatch.errors import ConfigurationError
from xgbpatch.inspection.facts import Facts
from xgbpatch.native import build as native
from xgbpatch.patch.features import feature
from xgbpatch.spec import Spec

SERVE_SCRIPT = "bin_serve.py"  # the overlay that stands first on PATH, for multi-model endpoints
FINDER = "sitecustomize.py"  # the overlay that finds replaced modules


@dataclass(frozen=True)
class PatchFile:
    """A file of the overlay: absolute POSIX `target` in the image, and its content as bytes or as a local path."""

    target: str
    content: bytes | Path
    executable: bool = False

    def read(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()

    def opened(self) -> IO[bytes]:
        """The content as a stream to be closed by the caller; a local file is never held in memory as a whole."""
        return io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content.open("rb")

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    @property
    def sha256(self) -> str:
        total = hashlib.sha256()
        with self.opened() as stream:
            while piece := stream.read(1 << 20):
                total.update(piece)
        return total.hexdigest()


@dataclass(frozen=True)
class Patch:
    """All that a build adds: files (sorted by target, no target twice) and environment variables."""

    files: tuple[PatchFile, ...]
    environment: Mapping[str, str]

    @cached_property
    def files_digest(self) -> str:
        """sha256 over targets, modes and contents."""
        return files_digest_of((file.target, file.executable, file.sha256) for file in self.files)

    @property
    def digest(self) -> str:
        """sha256 over files and environment: equal for equal patches, on any machine."""
        return digest_of(self.files_digest, self.environment)


def files_digest_of(files: Iterable[tuple[str, bool, str]]) -> str:
    """`Patch.files_digest` from targets (sorted), whether they are executable, and the sha256 of their content."""
    total = hashlib.sha256()
    for target, executable, sha256 in files:
        total.update(f"{target}\0{int(executable)}\0{sha256}\n".encode())
    return total.hexdigest()


def digest_of(files_digest: str, environment: Mapping[str, str]) -> str:
    """`Patch.digest` where the files are known by their digest alone."""
    total = hashlib.sha256(f"{files_digest}\n".encode())
    for name, value in sorted(environment.items()):
        total.update(f"{name}={value}\0".encode())
    return total.hexdigest()


def tree(root: Path, target: str, pattern: str = "**/*") -> Iterable[PatchFile]:
    """The regular files below `root` that match `pattern`, as overlay files below `target`; caches are left out."""
    for path in sorted(root.glob(pattern)):
        if path.is_file() and "__pycache__" not in path.parts:
            executable = bool(path.stat().st_mode & 0o100)
            yield PatchFile(f"{target}/{path.relative_to(root).as_posix()}", path, executable)


# Which files and variables a spec adds to a base.


def compose(spec: Spec, facts: Facts, *, packages: Path | None = None, base: str = "", release: str = "") -> Patch:
    """All files, sorted by target, and all variables that differ from the base's.

    `packages` is a folder with the unpacked packages; `base` and `release` are what a training job of the feature
    `training` is told of the image: its base, and the version of xgbpatch that made it. Raises `ConfigurationError`
    where a file of the user's would hide a module of the base: `[[replace]]` is the way.
    """
    for file in spec.files:
        name = file.target.split("/")[0].split(".")[0]
        if name in facts.top_levels or name == layout.OVERLAY_PACKAGE:
            raise ConfigurationError(
                f'the file "{file.target}" would hide the base\'s module "{name}" from the whole image',
                "Give it another target; to change a module of the base on purpose, use [[replace]].",
            )
    added = sorted(_files(spec, facts, packages), key=lambda file: file.target)
    variables = _environment(spec, facts, packages)
    if "training" in spec.features:
        variables.update(XGBPATCH_BASE=base, XGBPATCH_RELEASE=release)
    for name in spec.features:
        variables.update(feature(name).environment)
    return Patch(tuple(added), {**variables, **dict(spec.environment)})


def overlay_files() -> tuple[PatchFile, ...]:
    """The overlay package itself, the same in every image, whatever its machine and its features.

    Raises `ConfigurationError` where a native library is missing or was made from other sources.
    """
    root = Path(str(files("xgbpatch").joinpath("overlays")))
    special = (SERVE_SCRIPT, FINDER)
    target = f"{layout.OVERLAYS}/{layout.OVERLAY_PACKAGE}"
    modules = (file for file in tree(root, target, "**/*.py") if not file.target.endswith(special))
    libraries = (_native_library(machine, root, target) for machine in native.MACHINES)
    # whatever this machine's file system says
    return tuple(replace(file, executable=False) for file in (*modules, *libraries))


def _native_library(machine: str, root: Path, target: str) -> PatchFile:
    path = native.library(machine, root / "native")
    if complaint := native.complaint(path):
        raise ConfigurationError(complaint, "Run scripts/setup in the checkout, or install xgbpatch with pip.")
    return PatchFile(f"{target}/native/{path.name}", path)


def overlay_digest() -> str:
    """sha256 of all that xgbpatch itself brings, so that a newer xgbpatch shows as a newer overlay."""
    extra = tuple(PatchFile(name, _overlay_text(name)) for name in (SERVE_SCRIPT, FINDER))
    return Patch(overlay_files() + extra, {}).digest


def _files(spec: Spec, facts: Facts, packages: Path | None) -> Iterator[PatchFile]:
    yield from overlay_files()
    if spec.features or spec.fixes:
        script = f"#!{facts.python.executable}\n".encode() + _overlay_text(SERVE_SCRIPT)
        yield PatchFile(f"{layout.BIN}/serve", script, executable=True)
    if packages:
        yield from tree(packages, layout.PACKAGES)
    for file in spec.files:
        yield PatchFile(f"{layout.USER}/{file.target}", file.source)
    for replacement in spec.replacements:
        # where the finder looks for the module: the folder is flat, the name is the dotted one
        yield PatchFile(f"{layout.REPLACEMENTS}/{replacement.module}.py", replacement.source)
    if spec.replacements:
        yield PatchFile(f"{layout.OVERLAYS}/{FINDER}", _overlay_text(FINDER))


def _overlay_text(name: str) -> bytes:
    return files("xgbpatch").joinpath("overlays").joinpath(name).read_bytes()


def _environment(spec: Spec, facts: Facts, packages: Path | None) -> dict[str, str]:
    base = facts.environment
    folders = [layout.OVERLAYS]
    if spec.files:
        folders.append(layout.USER)
    if packages:
        folders.append(f"{layout.PACKAGES}/{layout.site(facts.python.minor)}")
    added = {
        "SAGEMAKER_SERVING_MODULE": f"{layout.OVERLAY_PACKAGE}.serve:main",
        "SAGEMAKER_TRAINING_MODULE": f"{layout.OVERLAY_PACKAGE}.train:main",
        "PYTHONPATH": extended(base.get("PYTHONPATH"), folders),
    }
    if spec.features or spec.fixes:
        added["PATH"] = layout.search_path(base.get("PATH"))
    if spec.features:
        added["XGBPATCH_FEATURES"] = ",".join(spec.features)
    if spec.fixes:
        added["XGBPATCH_FIXES"] = ",".join(spec.fixes)
    return added


def extended(existing: str | None, folders: list[str]) -> str:
    """`existing` with `folders` after it. An empty element means the working directory and is kept as it stands."""
    return ":".join(folders) if existing is None else ":".join([existing, *folders])
