"""Name and password for a registry."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Credentials:
    """What a registry wants for one host. The password never shows in a repr, a log or a command line."""

    username: str
    password: str = field(repr=False)
