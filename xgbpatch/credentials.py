"""Name and password for a registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xgbpatch.reference import ImageReference


@dataclass(frozen=True)
class Credentials:
    """What a registry wants for one host. The password never shows in a repr, a log or a command line."""

    username: str
    password: str = field(repr=False)


CredentialsFor = Callable[["ImageReference"], "Credentials | None"]  # by image; None stays anonymous
