"""How often registries are asked again, and how long is waited in between."""

from __future__ import annotations

from collections.abc import Callable

ATTEMPTS = 4
_LONGEST_PAUSE_SECONDS = 30.0


class Patience:
    """For one piece of work: so many failures in a row are too many; what got further starts the count again."""

    def __init__(self, pause: Callable[[float], None]) -> None:
        self._pause = pause
        self._failures = 0

    def wait(self, asked: float | None = None) -> bool:
        """Pause before another try, as long as the registry `asked`; False where there is none left.

        A registry that asks for more than half a minute is taken at its word: the caller hears of it at once.
        """
        self._failures += 1
        seconds = 0.5 * float(2 ** (self._failures - 1)) if asked is None else asked
        if self._failures >= ATTEMPTS or seconds > _LONGEST_PAUSE_SECONDS:
            return False
        self._pause(seconds)
        return True

    def progressed(self) -> None:
        """The failures so far are forgotten."""
        self._failures = 0
