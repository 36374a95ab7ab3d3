"""The package `xgbpatch_overlays` of an image: it runs on the base's Python and uses only the base's packages."""
