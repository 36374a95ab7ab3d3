#!/usr/bin/env python3
"""`serve`, first on PATH in the image (its interpreter is set by the build)."""

import sys

from xgbpatch_overlays.multi_model import main

if __name__ == "__main__":
    sys.exit(main())
