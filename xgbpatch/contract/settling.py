"""An answer past a race of the base's own stack."""

from __future__ import annotations

from xgbpatch.contract.exchange import Answer, Request
from xgbpatch.contract.server import Server

_ATTEMPTS = 8
_BAD_GATEWAY = 502


def settled(server: Server, request: Request) -> Answer:
    """gunicorn refuses a large body unread and closes; where nginx still writes at that moment it says 502 instead.

    Such an answer is asked for again; a server that never says anything else keeps its 502.
    """
    for _ in range(_ATTEMPTS):
        answer = server.ask(request)
        if answer.status != _BAD_GATEWAY:
            break
    return answer
