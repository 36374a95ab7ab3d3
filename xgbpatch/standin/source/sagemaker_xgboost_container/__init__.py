"""A stand-in for AWS's package of this name: the same modules, names and answers, written from its observed behaviour."""
