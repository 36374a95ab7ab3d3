"""Composing the patch: which files land in the image, and which variables switch them in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from xgbpatch import layout
from xgbpatch.errors import ConfigurationError
from xgbpatch.inspection.facts import Facts
from xgbpatch.patch.features import feature
from xgbpatch.patch.model import Patch, PatchFile, tree
from xgbpatch.spec import Replacement, Spec

SERVE_SCRIPT = "bin_serve.py"  # the overlay that stands first on PATH, for multi-model endpoints
FINDER = "sitecustomize.py"  # the overlay that finds replaced modules


@dataclass(frozen=True)
class Ingredients:
    """What a patch is made from: the spec, the base's facts, a folder with the unpacked packages (or None), and what a
    training job of the feature `training` is told of the image: its base, and the xgbpatch that made it."""

    spec: Spec
    facts: Facts
    packages: Path | None = None
    base: str = ""
    release: str = ""


def compose(ingredients: Ingredients) -> Patch:
    """All files, sorted by target, and all variables that differ from the base's.

    Raises `ConfigurationError` where a file of the user's would hide a module of the base: `[[replace]]` is the way.
    """
    _refuse_hiding(ingredients)
    found = sorted(_files(ingredients), key=lambda file: file.target)
    return Patch(tuple(found), _environment(ingredients))


def _refuse_hiding(ingredients: Ingredients) -> None:
    for file in ingredients.spec.files:
        name = file.target.split("/")[0].split(".")[0]
        if name in ingredients.facts.top_levels or name == layout.OVERLAY_PACKAGE:
            raise ConfigurationError(
                f'the file "{file.target}" would hide the base\'s module "{name}" from the whole image',
                "Give it another target; to change a module of the base on purpose, use [[replace]].",
            )


def overlay_files() -> tuple[PatchFile, ...]:
    """The overlay package itself, the same in every image."""
    root = Path(str(files("xgbpatch").joinpath("overlays")))
    special = (SERVE_SCRIPT, FINDER)
    target = f"{layout.OVERLAYS}/{layout.OVERLAY_PACKAGE}"
    found = (file for file in tree(root, target, "**/*.py") if not file.target.endswith(special))
    return tuple(replace(file, executable=False) for file in found)  # whatever this machine's file system says


def overlay_digest() -> str:
    """sha256 of all that xgbpatch itself brings, so that a newer xgbpatch shows as a newer overlay."""
    extra = tuple(PatchFile(name, _overlay_text(name)) for name in (SERVE_SCRIPT, FINDER))
    return Patch(overlay_files() + extra, {}).digest


def _files(ingredients: Ingredients) -> Iterator[PatchFile]:
    spec = ingredients.spec
    yield from overlay_files()
    if spec.features or spec.fixes:
        yield _serve_script(ingredients.facts)
    if ingredients.packages:
        yield from tree(ingredients.packages, layout.PACKAGES)
    for file in spec.files:
        yield PatchFile(f"{layout.USER}/{file.target}", file.source)
    for replacement in spec.replacements:
        yield PatchFile(replacement_target(replacement), replacement.source)
    if spec.replacements:
        yield PatchFile(f"{layout.OVERLAYS}/{FINDER}", _overlay_text(FINDER))


def replacement_target(replacement: Replacement) -> str:
    """Where the finder looks for the module: the folder is flat, the name is the dotted one."""
    return f"{layout.REPLACEMENTS}/{replacement.module}.py"


def _serve_script(facts: Facts) -> PatchFile:
    script = f"#!{facts.python.executable}\n".encode() + _overlay_text(SERVE_SCRIPT)
    return PatchFile(f"{layout.BIN}/serve", script, executable=True)


def _overlay_text(name: str) -> bytes:
    return files("xgbpatch").joinpath("overlays").joinpath(name).read_bytes()


def _environment(ingredients: Ingredients) -> Mapping[str, str]:
    spec, base = ingredients.spec, ingredients.facts.environment
    added = {
        "SAGEMAKER_SERVING_MODULE": f"{layout.OVERLAY_PACKAGE}.serve:main",
        "SAGEMAKER_TRAINING_MODULE": f"{layout.OVERLAY_PACKAGE}.train:main",
        "PYTHONPATH": extended(base.get("PYTHONPATH"), _import_folders(ingredients)),
    }
    if spec.features or spec.fixes:
        added["PATH"] = layout.search_path(base.get("PATH"))
    if spec.features:
        added["XGBPATCH_FEATURES"] = ",".join(spec.features)
    if spec.fixes:
        added["XGBPATCH_FIXES"] = ",".join(spec.fixes)
    if "training" in spec.features:
        added.update(XGBPATCH_BASE=ingredients.base, XGBPATCH_RELEASE=ingredients.release)
    for name in spec.features:
        added.update(feature(name).environment)
    return {**added, **dict(spec.environment)}


def extended(existing: str | None, folders: list[str]) -> str:
    """`existing` with `folders` after it. An empty element means the working directory and is kept as it stands."""
    return ":".join(folders) if existing is None else ":".join([existing, *folders])


def _import_folders(ingredients: Ingredients) -> list[str]:
    folders = [layout.OVERLAYS]
    folders += [layout.USER] if ingredients.spec.files else []
    if ingredients.packages:
        folders.append(f"{layout.PACKAGES}/{layout.site(ingredients.facts.python.minor)}")
    return folders
