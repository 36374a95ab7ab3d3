"""Where things lie in a patched image. One folder is ours; nothing outside it is added, changed or removed."""

ROOT = "/opt/xgbpatch"
OVERLAYS = f"{ROOT}/lib"  # holds the package OVERLAY_PACKAGE, and `sitecustomize` where a module is replaced
OVERLAY_PACKAGE = "xgbpatch_overlays"  # `xgbpatch/overlays/` of this project, under its name in the image
PACKAGES = f"{ROOT}/packages"  # a wheel prefix: lib/python/…, lib/*.so
PACKAGES_SITE = f"{PACKAGES}/lib/python/site-packages"
USER = f"{ROOT}/user"  # the user's own files
REPLACEMENTS = f"{ROOT}/replacements"  # <dotted.module>.py
BIN = f"{ROOT}/bin"  # first on PATH: `serve` for multi-model endpoints

LABEL_PREFIX = "io.xgbpatch."
