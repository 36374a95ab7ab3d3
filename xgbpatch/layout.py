"""Where things lie in a patched image. One folder is ours; nothing outside it is added, changed or removed."""

ROOT = "/opt/xgbpatch"
OVERLAYS = f"{ROOT}/lib"  # holds the package OVERLAY_PACKAGE, and `sitecustomize` where a module is replaced
OVERLAY_PACKAGE = "xgbpatch_overlays"  # `xgbpatch/overlays/` of this project, under its name in the image
PACKAGES = f"{ROOT}/packages"  # a wheel prefix: lib/python3.x/site-packages, lib/*.so
USER = f"{ROOT}/user"  # the user's own files
REPLACEMENTS = f"{ROOT}/replacements"  # <dotted.module>.py
BIN = f"{ROOT}/bin"  # first on PATH: `serve` for multi-model endpoints
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # the engine's, where an image sets none

LABEL_PREFIX = "io.xgbpatch."


def search_path(existing: str | None) -> str:
    """PATH in a patched image whose base has `existing`: ours first, and without one the engine's own after it."""
    return f"{BIN}:{existing or DEFAULT_PATH}"


def site(minor: tuple[int, int]) -> str:
    """The site-packages of a wheel prefix, relative to it; some wheels (daal 2026) write that path themselves."""
    return f"lib/python{minor[0]}.{minor[1]}/site-packages"
