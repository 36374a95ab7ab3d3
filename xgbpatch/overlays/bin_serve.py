"""`serve`, first on PATH in the image; the build puts the base's interpreter into a first line."""

import sys

from xgbpatch_overlays.multi_model import main

if __name__ == "__main__":
    sys.exit(main())
