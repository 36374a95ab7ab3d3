"""How a check says that an image fails it, or that it does not apply."""

from __future__ import annotations


class Violation(Exception):
    """The image breaks the contract; the message is the reason a user reads."""


class NotApplicable(Exception):
    """The check has no meaning for this image or model; the message says why."""


def require(holds: bool, reason: str) -> None:
    """Raise `Violation(reason)` unless `holds`."""
    if not holds:
        raise Violation(reason)
