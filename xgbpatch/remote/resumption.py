"""A download that goes on where it was cut."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager

from xgbpatch.registry_exchange import Retriable, Unanswered
from xgbpatch.registry_patience import ATTEMPTS, Patience

Opened = Callable[[int], AbstractContextManager[Iterator[bytes]]]


def continued(opened: Opened, offset: int, patience: Patience) -> Generator[bytes, None, None]:
    """All bytes from `offset` on, asking `opened` anew from the first missing byte whenever the connection breaks.

    Raises `RegistryError` when nothing at all came several times in a row.
    """
    while True:
        try:
            with opened(offset) as pieces:
                for piece in pieces:
                    offset += len(piece)
                    patience.progressed()
                    yield piece
            return
        except Retriable as error:
            if not patience.wait(error.asked_pause):
                raise (error.after(ATTEMPTS) if isinstance(error, Unanswered) else error) from None
