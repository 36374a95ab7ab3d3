"""The checks, by what they look at. `table` has all of them in order."""
