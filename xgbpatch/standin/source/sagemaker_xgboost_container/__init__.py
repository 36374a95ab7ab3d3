"""A stand-in for AWS's package of this name: same modules, names and answers, written from observed behaviour."""
