"""A registry's refusals, in its own words and with the next step."""

from __future__ import annotations

import json

from xgbpatch.errors import RegistryError
from xgbpatch.reference import ImageReference
from xgbpatch.registry_exchange import Answer, Busy, is_number


def verify(reference: ImageReference, claimed: str, seen: str) -> None:
    """Raises `RegistryError` where a digest was `claimed` and is not the one `seen`."""
    if claimed and claimed != seen:
        raise RegistryError(
            f'the registry sent wrong bytes for "{reference}": "{claimed}" was announced and "{seen}" came',
            "Try again; a proxy or a damaged registry stands between.",
        )


def require(answer: Answer, allowed: tuple[int, ...], what: str) -> None:
    """Raises `RegistryError`, `Busy` where another try is worth it, for any status that is not `allowed`.

    `what` reads on after "refused to".
    """
    if answer.status not in allowed:
        message = f"the registry refused to {what}: HTTP {answer.status}{_words(answer)}"
        if answer.is_transient:
            raise Busy(message, _next_step(answer), answer.asked_pause)
        raise RegistryError(message, _next_step(answer))


def _words(answer: Answer) -> str:
    """The registry's own error codes and messages, which a HEAD never carries."""
    try:
        errors = json.loads(answer.body)["errors"]
        return ": " + "; ".join(f"{error.get('code')}: {error.get('message', '')}" for error in errors)
    except (ValueError, KeyError, TypeError, AttributeError):
        text = answer.body.decode("utf-8", "replace").strip()[:200]
        return f": {text}" if text and not text.startswith("<") else ""  # a page may repeat a presigned address


def _next_step(answer: Answer) -> str:
    if answer.status == 401:
        return "Check the credentials: for ECR those of AWS, for another registry those of `docker login`."
    if answer.status == 403:
        return "This identity lacks the permission: see the repository's policy and the identity's own."
    if answer.status == 429:
        wait = answer.headers.get("Retry-After", "")
        return f"The registry asks to wait {wait} s." if is_number(wait) else "The registry is busy: try again later."
    return "The registry has a fault of its own: try again later." if answer.status >= 500 else ""
