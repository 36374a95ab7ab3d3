"""HTTP with registries: which scheme, whose credentials, how often to try. What is asked lies in `xgbpatch.registry`.

Plain HTTP is spoken with loopback addresses only, and only where nothing speaks TLS there, as the Docker Engine does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests

from xgbpatch.engine.values import Credentials
from xgbpatch.errors import RegistryError
from xgbpatch.reference import ImageReference
from xgbpatch.registry_authorization import Authorization, Challenge, basic, token
from xgbpatch.registry_connection import Connections, body, host_of, is_distrust, is_loopback, pieces
from xgbpatch.registry_exchange import Answer, Request, Stream, Unanswered
from xgbpatch.registry_patience import ATTEMPTS, Patience

__all__ = ["Answer", "CredentialsFor", "RegistrySession", "Request", "Stream"]

CredentialsFor = Callable[[ImageReference], Credentials | None]

_TIMEOUT_SECONDS = (10.0, 60.0)  # to connect, and between two bytes
_HASTY_SECONDS = (2.0, 3.0)
_SLOW_SECONDS = (10.0, 600.0)
_AUTHORIZATIONS = 3  # another thread may just have got a token that is too narrow for this call


class RegistrySession:
    """Keeps connections, schemes and authorizations of the registries it talks to. Made for several threads."""

    def __init__(self, credentials_for: CredentialsFor, pause: Callable[[float], None] = time.sleep) -> None:
        self._credentials_for = credentials_for
        self._pause = pause
        self._threads = threading.local()
        self._schemes: dict[str, str] = {}
        self._authorizations: dict[tuple[str, str], str] = {}
        self._renewal = threading.Lock()

    def send(self, request: Request) -> Answer:
        """The registry's answer, whatever its status; authorized by the registry's own challenge where it asks.

        Tries again on 429, 5xx and broken connections; raises `RegistryError` when no answer comes at all.
        """
        return self.send_once(request) if request.hasty else self._persistently(lambda: self.send_once(request))

    def send_once(self, request: Request) -> Answer:
        """As `send` without another try; raises `Unanswered` where one is worth it."""
        with self._response(request) as response:
            return _read(response)

    @contextmanager
    def opened(self, request: Request) -> Iterator[Stream]:
        """As `send_once`, with the body of a success (200, 206) left to be read; its pieces raise `Unanswered` too."""
        with self._response(request) as response:
            if response.status_code in (200, 206):
                yield Stream(Answer(response.status_code, response.headers, url=response.url), pieces(response))
            else:
                yield Stream(_read(response), iter(()))

    def patience(self) -> Patience:
        """For work of several calls, where the caller knows what to do before the next try."""
        return Patience(self._pause)

    def _persistently(self, call: Callable[[], Answer]) -> Answer:
        patience = self.patience()
        while True:
            try:
                answer = call()
            except Unanswered as error:
                if not patience.wait():
                    raise error.after(ATTEMPTS) from None
            else:
                if not answer.is_transient or not patience.wait(answer.asked_pause):
                    return answer

    def _response(self, request: Request) -> requests.Response:
        key, url = self._key(request.reference), self._url(request)
        for _ in range(_AUTHORIZATIONS):
            sent = self._authorizations.get(key, "") if host_of(url) == key[0] else ""
            response = self._once(request, url, sent)
            registrys_own = {host_of(url), host_of(response.url)} == {key[0]}  # and not that of a store behind it
            if not registrys_own or not self._renew(request.reference, response, sent):
                return response
            response.close()
        return self._once(request, url, self._authorizations.get(key, ""))

    def _once(self, request: Request, url: str, authorization: str) -> requests.Response:
        prepared = requests.Request(
            request.method, url, headers=dict(request.headers), data=request.body, auth=Authorization(authorization)
        )
        timeout = _HASTY_SECONDS if request.hasty else _SLOW_SECONDS if request.slow else _TIMEOUT_SECONDS
        return self._http.answer_to(prepared, timeout)

    @property
    def _http(self) -> Connections:
        """One a thread: `requests` promises nothing for a session that several use."""
        if not hasattr(self._threads, "connections"):
            self._threads.connections = Connections()
        found: Connections = self._threads.connections
        return found

    def _key(self, reference: ImageReference) -> tuple[str, str]:
        """Under which an authorization is kept: the host as `host_of` gives it, and the repository."""
        host, repository = address(reference)
        return host_of(f"{self._scheme(host)}://{host}"), repository

    def _url(self, request: Request) -> str:
        host, repository = address(request.reference)
        scheme = self._scheme(host)
        try:
            url = urljoin(f"{scheme}://{host}/v2/{repository}/", request.path)
            _ = urlsplit(url).port
        except ValueError as error:  # how a list goes on, say, is the registry's own word
            raise RegistryError(f'registry "{host}" sends its clients to an address that is none: {error}') from error
        if host_of(url) == self._key(request.reference)[0]:
            # registries behind a proxy that ends TLS give addresses with http
            url = urlunsplit(urlsplit(url)._replace(scheme=scheme, netloc=host))
        return url

    def _scheme(self, host: str) -> str:
        if not is_loopback(host):
            return "https"
        if host not in self._schemes:
            self._schemes[host] = "https" if self._speaks_tls(host) else "http"
        return self._schemes[host]

    def _speaks_tls(self, host: str) -> bool:
        """A certificate that cannot be verified is TLS too: the call that follows says so, nothing is sent plain."""
        try:
            self._http.get(f"https://{host}/v2/", timeout=_TIMEOUT_SECONDS, auth=Authorization(""))
        except requests.exceptions.RequestException as error:
            return is_distrust(error)
        except OSError:
            return True
        return True

    def _renew(self, reference: ImageReference, response: requests.Response, sent: str) -> bool:
        """After a refusal of `sent`: get what the registry wants; returns whether there is something new to send."""
        if response.status_code not in (401, 403):
            return False
        key = self._key(reference)
        with self._renewal:
            known = self._authorizations.get(key, "")
            if known != sent:  # another thread was faster
                return True
            if response.status_code == 401:
                new = self._answer_to(Challenge.parse(response.headers.get("WWW-Authenticate", "")), reference)
                self._authorizations[key] = new
            else:  # ECR refuses a token that has expired with 403
                new = basic(self._credentials_for(reference)) if sent.startswith("Basic ") else ""
                self._authorizations[key] = new or sent
            return bool(new) and new != sent

    def _answer_to(self, challenge: Challenge, reference: ImageReference) -> str:
        credentials = self._credentials_for(reference)
        if challenge.scheme == "bearer":
            return f"Bearer {self._bearer_token(challenge, credentials, reference.host)}"
        return basic(credentials) if challenge.scheme == "basic" else ""

    def _bearer_token(self, challenge: Challenge, credentials: Credentials | None, host: str) -> str:
        realm = challenge.realm
        try:
            parts = urlsplit(realm)
            private = parts.port != 0 and (parts.scheme == "https" or is_loopback(host_of(realm)))
        except ValueError:
            private = False
        if not private:
            raise RegistryError(
                f'registry "{host}" sends its clients to "{realm}" for a token, which is not https, or no address'
            )
        request = requests.Request("GET", realm, params=challenge.query, auth=Authorization(basic(credentials)))

        def ask() -> Answer:
            with self._http.answer_to(request, _TIMEOUT_SECONDS) as response:
                return _read(response)

        return token(realm, self._persistently(ask))


def address(reference: ImageReference) -> tuple[str, str]:
    """Host and repository as the HTTP API wants them; raises `RegistryError` for a name without a registry."""
    if not reference.host:
        raise RegistryError(f'"{reference}" names no registry', "Write host/repository:tag.")
    if reference.host in ("docker.io", "index.docker.io"):
        repository = reference.repository
        return "registry-1.docker.io", repository if "/" in repository else f"library/{repository}"
    return reference.host, reference.repository


def _read(response: requests.Response) -> Answer:
    return Answer(response.status_code, response.headers, body(response), response.url)
