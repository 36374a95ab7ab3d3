"""Composing the patch: which files land in the image, and which variables switch them in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
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


def compose(spec: Spec, facts: Facts, *, packages: Path | None = None, base: str = "", release: str = "") -> Patch:
    """All files, sorted by target, and all variables that differ from the base's.

    `packages` is a folder with the unpacked packages; `base` and `release` are what a training job of the feature
    `training` is told of the image: its base, and the version of xgbpatch that made it. Raises `ConfigurationError`
    where a file of the user's would hide a module of the base: `[[replace]]` is the way.
    """
    _refuse_hiding(spec, facts)
    added = sorted(_files(spec, facts, packages), key=lambda file: file.target)
    variables = _environment(spec, facts, packages)
    if "training" in spec.features:
        variables.update(XGBPATCH_BASE=base, XGBPATCH_RELEASE=release)
    return Patch(tuple(added), {**variables, **_feature_variables(spec), **dict(spec.environment)})


def _refuse_hiding(spec: Spec, facts: Facts) -> None:
    for file in spec.files:
        name = file.target.split("/")[0].split(".")[0]
        if name in facts.top_levels or name == layout.OVERLAY_PACKAGE:
            raise ConfigurationError(
                f'the file "{file.target}" would hide the base\'s module "{name}" from the whole image',
                "Give it another target; to change a module of the base on purpose, use [[replace]].",
            )


def overlay_files() -> tuple[PatchFile, ...]:
    """The overlay package itself, the same in every image."""
    root = Path(str(files("xgbpatch").joinpath("overlays")))
    special = (SERVE_SCRIPT, FINDER)
    target = f"{layout.OVERLAYS}/{layout.OVERLAY_PACKAGE}"
    modules = (file for file in tree(root, target, "**/*.py") if not file.target.endswith(special))
    return tuple(replace(file, executable=False) for file in modules)  # whatever this machine's file system says


def overlay_digest() -> str:
    """sha256 of all that xgbpatch itself brings, so that a newer xgbpatch shows as a newer overlay."""
    extra = tuple(PatchFile(name, _overlay_text(name)) for name in (SERVE_SCRIPT, FINDER))
    return Patch(overlay_files() + extra, {}).digest


def _files(spec: Spec, facts: Facts, packages: Path | None) -> Iterator[PatchFile]:
    yield from overlay_files()
    if spec.features or spec.fixes:
        yield _serve_script(facts)
    if packages:
        yield from tree(packages, layout.PACKAGES)
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


def _environment(spec: Spec, facts: Facts, packages: Path | None) -> dict[str, str]:
    base = facts.environment
    added = {
        "SAGEMAKER_SERVING_MODULE": f"{layout.OVERLAY_PACKAGE}.serve:main",
        "SAGEMAKER_TRAINING_MODULE": f"{layout.OVERLAY_PACKAGE}.train:main",
        "PYTHONPATH": extended(base.get("PYTHONPATH"), _import_folders(spec, facts, packages)),
    }
    if spec.features or spec.fixes:
        added["PATH"] = layout.search_path(base.get("PATH"))
    if spec.features:
        added["XGBPATCH_FEATURES"] = ",".join(spec.features)
    if spec.fixes:
        added["XGBPATCH_FIXES"] = ",".join(spec.fixes)
    return added


def _feature_variables(spec: Spec) -> dict[str, str]:
    return {name: value for item in spec.features for name, value in feature(item).environment.items()}


def extended(existing: str | None, folders: list[str]) -> str:
    """`existing` with `folders` after it. An empty element means the working directory and is kept as it stands."""
    return ":".join(folders) if existing is None else ":".join([existing, *folders])


def _import_folders(spec: Spec, facts: Facts, packages: Path | None) -> list[str]:
    folders = [layout.OVERLAYS]
    folders += [layout.USER] if spec.files else []
    if packages:
        folders.append(f"{layout.PACKAGES}/{layout.site(facts.python.minor)}")
    return folders
