"""What lands in the image as the package `xgbpatch_overlays`; it runs on the base's Python and uses only the base's packages."""
