"""What docker-py may raise, translated once: refused, missing, or gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import docker.errors
import requests
import urllib3

from xgbpatch.errors import EngineError

UNREACHABLE = (  # a stream that breaks off is read by urllib3 itself, past requests
    docker.errors.DockerException,
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
)


class MissingImageError(EngineError):
    """The engine holds no image of that name."""


class EngineGoneError(EngineError):
    """The engine stopped answering; the image that was worked on is not to blame."""


def is_gone(error: docker.errors.APIError) -> bool:
    """Whether the engine refused a removal because somebody else did it, or is about to."""
    words = str(error.explanation or error)
    if error.status_code == 409:  # moby's ContainerRm; an image that is in use is another 409
        return "is already in progress" in words
    return error.status_code == 404 or "unrecognized image ID" in words  # moby 20.10: 500, between two removals


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Runs a call to the engine; `what` completes "the engine refused to …"."""
    try:
        yield
    except docker.errors.ImageNotFound as error:
        raise MissingImageError(f"the engine cannot {what}: it holds no such image") from error
    except docker.errors.APIError as error:
        raise EngineError(f"the engine refused to {what}: {error.explanation or error}") from error
    except UNREACHABLE as error:
        raise EngineGoneError(
            f"the engine stopped answering while it should {what}: {error}", "Is the Docker Engine still running?"
        ) from error
