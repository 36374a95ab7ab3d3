"""Requests, answers and streams of a registry, and how often and how long a failed one is tried again."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, urljoin, urlsplit

import requests.utils

from xgbpatch import hostnames
from xgbpatch.errors import RegistryError
from xgbpatch.oci.manifest import is_digest
from xgbpatch.reference import ImageReference

ATTEMPTS = 4
_LONGEST_PAUSE_SECONDS = 30.0


class RetryPolicy:
    """For one piece of work: so many failures in a row are too many; what got further starts the count again."""

    def __init__(self, pause: Callable[[float], None]) -> None:
        self._pause = pause
        self._failures = 0

    def wait(self, retry_after: float | None = None) -> bool:
        """Pause before another try, `retry_after` seconds where the registry says so; False where there is none left.

        A registry that asks for more than half a minute is taken at its word: the caller hears of it at once.
        """
        self._failures += 1
        seconds = 0.5 * float(2 ** (self._failures - 1)) if retry_after is None else retry_after
        if self._failures >= ATTEMPTS or seconds > _LONGEST_PAUSE_SECONDS:
            return False
        self._pause(seconds)
        return True

    def progressed(self) -> None:
        """The failures so far are forgotten."""
        self._failures = 0


# What goes to a registry and what comes back, as values.


_TRANSIENT = frozenset({429, 500, 502, 503, 504})
_MOST_DIGITS = 18  # a number of bytes; Python refuses to read those of thousands
FAULT = "See what answers there: a proxy may stand between, or the registry has a fault of its own."
_QUERY = re.compile(r"\?[^\s'\"<>]+")


@dataclass(frozen=True)
class RegistryRequest:
    """One call on the repository of `reference`.

    `path` is relative to the repository (`manifests/<tag>`), or an address as a registry gave it: an absolute path or a
    URL. What is `hasty` is tried once and not waited for: it must not delay the end of the program. What is `slow` may
    keep the registry busy for minutes before it answers.
    """

    reference: ImageReference
    method: str
    path: str = field(repr=False)  # a presigned URL is a secret
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    hasty: bool = False
    slow: bool = False


@dataclass(frozen=True)
class RegistryAnswer:
    """What came back, read to its end. `headers` are case-insensitive; `url` is where it came from in the end."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)
    url: str = field(default="", repr=False)

    @property
    def is_transient(self) -> bool:
        """Whether the same call may well succeed later."""
        return self.status in _TRANSIENT

    @property
    def asked_pause(self) -> float | None:
        """Seconds that Retry-After asks for, as a number or a date (RFC 9110, 10.2.3)."""
        header = self.headers.get("Retry-After", "")
        if is_number(header):
            return float(header)
        try:
            return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
        except (ValueError, OverflowError, LookupError, TypeError):  # no date, or one that no clock shows
            return None

    @property
    def next_page(self) -> str:
        """Where a list goes on, as its registry says it; empty at its end (RFC 8288)."""
        links = requests.utils.parse_header_links(self.headers.get("Link", ""))
        return next((str(link["url"]) for link in links if link.get("rel") == "next"), "")

    @property
    def location(self) -> str:
        """Where the answer points to, as a URL; empty where it does not. Raises `RegistryError` for what is no URL."""
        target = self.headers.get("Location", "")
        try:
            return urljoin(self.url, target) if target else ""
        except ValueError as error:
            raise wrong_header(self, "Location") from error

    @property
    def host(self) -> str:
        """Who answered, with the port; empty where that is not known."""
        return address_parts(self.url).netloc

    @property
    def length(self) -> int | None:
        """Bytes of the body by Content-Length; None where that tells nothing: absent, no number, or of an encoding."""
        if self.headers.get("Content-Encoding", "identity") != "identity":
            return None
        return number(self.headers.get("Content-Length", ""))

    @property
    def content_digest(self) -> str:
        """Docker-Content-Digest, empty where there is none; raises `RegistryError` where it is no sha256 digest."""
        digest = self.headers.get("Docker-Content-Digest", "")
        if digest and not is_digest(digest):
            raise wrong_header(self, "Docker-Content-Digest")
        return digest


@dataclass(frozen=True)
class Stream:
    """A body that is read piece by piece. `answer` has it already where the status is no success."""

    answer: RegistryAnswer
    pieces: Iterator[bytes]


def address_parts(url: str) -> SplitResult:
    """Of an address as others write it; raises `RegistryError` for what is none."""
    try:
        return urlsplit(url)
    except ValueError as error:
        raise RegistryError(f'"{without_query(url)[:200]}" is no address: {error}', FAULT) from error


def is_number(header: str) -> bool:
    """Whether a header holds what RFC 9110 calls digits; `str.isdigit` takes "²" for one."""
    return header.isascii() and header.isdecimal()


def number(header: str) -> int | None:
    """The number that a header holds; None where it holds none, or one that can count no bytes."""
    return int(header) if is_number(header) and len(header) <= _MOST_DIGITS else None


def wrong_header(answer: RegistryAnswer, name: str) -> RegistryError:
    """For a header whose value means nothing; of an address only what comes before its query, which may be a secret."""
    value = answer.headers.get(name, "").partition("?")[0][:200]
    return RegistryError(f'registry "{answer.host}" sent a wrong "{name}": "{value}"', FAULT)


def without_query(text: object) -> str:
    """A text in which no address keeps its query: that of a presigned one is a secret."""
    return _QUERY.sub("?…", str(text))


class Retriable(RegistryError):
    """Worth another try, which is the caller's to make: after `asked_pause` seconds where the registry named them."""

    asked_pause: float | None = None


class Busy(Retriable):
    """An answer that may be another one later: 429, 5xx."""

    def __init__(self, message: str, next_step: str, asked_pause: float | None) -> None:
        super().__init__(message, next_step)
        self.asked_pause = asked_pause


class Unanswered(Retriable):
    """No answer, or one that broke off."""

    def __init__(self, host: str, cause: object, times: int = 1) -> None:
        self.host, self.cause = host, without_query(cause)
        super().__init__(
            f'registry "{host}" did not answer{f" {times} times" if times > 1 else ""}: {self.cause}',
            hostnames.next_step(host) or "Check the host's name, the network and the proxy (HTTPS_PROXY, NO_PROXY).",
        )

    def after(self, times: int) -> Unanswered:
        """The same once all tries are used up."""
        return Unanswered(self.host, self.cause, times)
