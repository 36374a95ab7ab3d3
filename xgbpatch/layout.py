"""Where things lie in a patched image. One folder is ours; nothing outside it is added, changed or removed."""

ROOT = "/opt/xgbpatch"
OVERLAYS = f"{ROOT}/lib"  # holds the package OVERLAY_PACKAGE, and `sitecustomize` where a module is replaced
OVERLAY_PACKAGE = "xgbpatch_overlays"  # `xgbpatch/overlays/` of this project, under its name in the image
PACKAGES = f"{ROOT}/packages"  # a wheel prefix: lib/python3.x/site-packages, lib/*.so
USER = f"{ROOT}/user"  # the user's own files
REPLACEMENTS = f"{ROOT}/replacements"  # <dotted.module>.py
BIN = f"{ROOT}/bin"  # first on PATH: `serve` for multi-model endpoints

LABEL_PREFIX = "io.xgbpatch."


def site(minor: tuple[int, int]) -> str:
    """The site-packages of a wheel prefix, relative to it; some wheels (daal 2026) write that path themselves."""
    return f"lib/python{minor[0]}.{minor[1]}/site-packages"
