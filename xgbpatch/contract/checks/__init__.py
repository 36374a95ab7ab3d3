"""The checks, by what they look at. `contract/runner.py` has all of them in order."""
