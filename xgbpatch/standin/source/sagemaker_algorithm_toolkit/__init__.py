"""A stand-in for AWS's package of this name: what is checked before a training, and how it is told what is wrong."""
