"""`python -m xgbpatch`."""

from xgbpatch.cli import main

if __name__ == "__main__":
    main()
