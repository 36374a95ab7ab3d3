"""The HTTP session of a registry: TLS rules, redirects, authorization and retries."""

from __future__ import annotations

import base64
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin, urlunsplit

import requests
import urllib3

from xgbpatch import hostnames
from xgbpatch.errors import RegistryError
from xgbpatch.oci import document
from xgbpatch.reference import Credentials, CredentialsFor, ImageReference
from xgbpatch.registry.http import (
    ATTEMPTS,
    FAULT,
    RegistryAnswer,
    RegistryRequest,
    RetryPolicy,
    Stream,
    Unanswered,
    address_parts,
    without_query,
)

_LOOPBACK = re.compile(r"(localhost|127\.\d+\.\d+\.\d+)(:\d+)?")
_PIECE = 1 << 18
_DEFAULT_PORTS = {"https": ":443", "http": ":80"}
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')  # of a challenge
_NO_ADDRESS = (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema)


class Authorization(requests.auth.AuthBase):
    """Exactly the header given: without an `auth` of its own requests would take one from ~/.netrc."""

    def __init__(self, header: str) -> None:
        self._header = header

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._header:
            request.headers["Authorization"] = self._header
        return request


def basic(credentials: Credentials | None) -> str:
    """The header's value (RFC 7617), empty for nobody and for who has an identity token, which is no password."""
    if credentials is None or credentials.identity_token:
        return ""
    pair = f"{credentials.username}:{credentials.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


class Connections(requests.Session):
    """Of one thread. A redirection never carries the authorization elsewhere, nor takes one from ~/.netrc."""

    def __init__(self) -> None:
        super().__init__()
        self._settings: dict[tuple[str, str], Any] = {}  # a look through the environment costs more than most calls

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Called by `requests` for each redirection."""
        require_private(str(prepared_request.url))
        if host_of(str(response.request.url)) != host_of(str(prepared_request.url)):
            prepared_request.headers.pop("Authorization", None)

    def answer_to(self, request: requests.Request, timeout: tuple[float, float]) -> requests.Response:
        """The answer with its body still to come: close it."""
        as_written = str(request.url).partition("://")[2].partition("/")[0].partition("?")[0]  # it may be no URL
        with translated(as_written):
            prepared = self.prepare_request(request)
        require_private(str(prepared.url))
        where = address_parts(str(prepared.url))[:2]
        if where not in self._settings:
            self._settings[where] = self.merge_environment_settings(prepared.url, {}, True, None, None)
        with translated(host_of(str(prepared.url))):
            return self.send(prepared, timeout=timeout, allow_redirects=True, **self._settings[where])


def is_loopback(host: str) -> bool:
    """With or without a port."""
    return _LOOPBACK.fullmatch(host) is not None


def _speaks_tls(host: str) -> bool:
    """A certificate that cannot be verified is TLS too: the call that follows says so, nothing is sent plain."""
    name, _, port = host.partition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((name, int(port or 443)), _TIMEOUT_SECONDS[1]) as connection:
            context.wrap_socket(connection, server_hostname=name).close()
    except (OSError, OverflowError):  # not TLS, nobody, or no port: the call that follows says so
        return False
    return True


def host_of(url: str) -> str:
    """Host and port, in one spelling: lower case, and without the port that the scheme has anyway. Raises
    `RegistryError` for what is no address."""
    parts = address_parts(url)
    return parts.netloc.lower().removesuffix(_DEFAULT_PORTS.get(parts.scheme, ""))


def require_private(url: str) -> None:
    """Raises `RegistryError` for an address that could be overheard."""
    if address_parts(url).scheme != "https" and not is_loopback(host_of(url)):
        raise RegistryError(f'the registry sends its clients to "{host_of(url)}", which is not https')


def answer_of(response: requests.Response) -> RegistryAnswer:
    """With all of its body; raises `RegistryError` for one that cannot be a manifest."""
    content = bytearray()
    host = host_of(response.url)
    with translated(host):
        for piece in response.iter_content(_PIECE >> 4):  # one may unpack to a thousand times its size
            content += piece
            if len(content) > document.LARGEST:
                raise RegistryError(f'"{host}" sent more than {document.LARGEST >> 20} MiB of JSON')
    return RegistryAnswer(response.status_code, response.headers, bytes(content), response.url)


def pieces(response: requests.Response) -> Iterator[bytes]:
    """The body piece by piece; raises `Unanswered` where it ends before its announced length."""
    host = host_of(response.url)
    left = RegistryAnswer(response.status_code, response.headers).length or 0
    with translated(host):
        for piece in response.iter_content(_PIECE):
            left -= len(piece)
            yield piece
    if left > 0:  # urllib3 1 does not notice
        raise Unanswered(host, "the connection was cut")


@contextmanager
def translated(host: str) -> Iterator[None]:
    """Failures of `requests` as ours. Not chained: their text holds URLs, and a presigned one is a secret."""
    try:
        yield
    except requests.exceptions.RequestException as error:
        if is_distrust(error):
            raise RegistryError(
                f'the certificate of registry "{host}" is not trusted: {_cause(error)}',
                hostnames.next_step(host)
                or "Point REQUESTS_CA_BUNDLE to a file with its CA certificate (the engine's own copy is "
                f"/etc/docker/certs.d/{host}/ca.crt).",
            ) from None
        if isinstance(error, _NO_ADDRESS) and not isinstance(error, requests.exceptions.InvalidProxyURL):
            raise _nonsense(host, error) from None
        raise Unanswered(host, _cause(error)) from None
    except ValueError as error:  # of urllib and the encodings below `requests`
        raise _nonsense(host, error) from None
    except urllib3.exceptions.HTTPError as error:  # `requests` lets some of them through
        raise Unanswered(host, error) from None
    except OSError as error:  # how requests says that the bundle of certificates is not there
        raise RegistryError(f'no TLS with registry "{host}": {error}', "Correct REQUESTS_CA_BUNDLE.") from error


def is_distrust(error: requests.exceptions.RequestException) -> bool:
    """Whether there is TLS, under a certificate that nobody we trust has signed."""
    return isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error)


def _nonsense(host: str, error: Exception) -> RegistryError:
    """An address or a header that is none: another try would get it again."""
    return RegistryError(
        f'no HTTP with registry "{host}", for an address or a header is not valid: {without_query(error)}', FAULT
    )


def _cause(error: Exception) -> object:
    """What lies under urllib3's "Max retries exceeded"."""
    return getattr(error.args[0] if error.args else error, "reason", error)


# HTTP with registries: which scheme, whose credentials, how often to try. What is asked lies in `client`.
#
# Plain HTTP is spoken with loopback addresses only, and only where nothing speaks TLS there, as the Docker Engine
# does.


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

    def send(self, request: RegistryRequest) -> RegistryAnswer:
        """The registry's answer, whatever its status; authorized by the registry's own challenge where it asks.

        Tries again on 429, 5xx and broken connections; raises `RegistryError` when no answer comes at all.
        """
        return self.send_once(request) if request.hasty else self._persistently(lambda: self.send_once(request))

    def send_once(self, request: RegistryRequest) -> RegistryAnswer:
        """As `send` without another try; raises `Unanswered` where one is worth it."""
        with self._response(request) as response:
            return answer_of(response)

    @contextmanager
    def opened(self, request: RegistryRequest) -> Iterator[Stream]:
        """As `send_once`, with the body of a success (200, 206) left to be read; its pieces raise `Unanswered` too."""
        with self._response(request) as response:
            if response.status_code in (200, 206):
                yield Stream(RegistryAnswer(response.status_code, response.headers, url=response.url), pieces(response))
            else:
                yield Stream(answer_of(response), iter(()))

    def patience(self) -> RetryPolicy:
        """For work of several calls, where the caller knows what to do before the next try."""
        return RetryPolicy(self._pause)

    def _persistently(self, call: Callable[[], RegistryAnswer]) -> RegistryAnswer:
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

    def _response(self, request: RegistryRequest) -> requests.Response:
        key, url = self._key(request.reference), self._url(request)
        for _ in range(_AUTHORIZATIONS):
            authorization = self._authorizations.get(key, "") if host_of(url) == key[0] else ""
            response = self._once(request, url, authorization)
            registrys_own = {host_of(url), host_of(response.url)} == {key[0]}  # and not that of a store behind it
            if not registrys_own or not self._renew(request.reference, response, authorization):
                return response
            response.close()
        return self._once(request, url, self._authorizations.get(key, ""))

    def _once(self, request: RegistryRequest, url: str, authorization: str) -> requests.Response:
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
        connections: Connections = self._threads.connections
        return connections

    def _key(self, reference: ImageReference) -> tuple[str, str]:
        """Under which an authorization is kept: the host as `host_of` gives it, and the repository."""
        host, repository = address(reference)
        return host_of(f"{self._scheme(host)}://{host}"), repository

    def _url(self, request: RegistryRequest) -> str:
        host, repository = address(request.reference)
        scheme = self._scheme(host)
        try:
            url = urljoin(f"{scheme}://{host}/v2/{repository}/", request.path)
            parts = address_parts(url)
            _ = parts.port  # which is looked at no earlier
        except (ValueError, RegistryError) as error:  # how a list goes on, say, is the registry's own word
            raise RegistryError(f'registry "{host}" sends its clients to an address that is none: {error}') from error
        # registries behind a proxy that ends TLS give addresses with http
        own = host_of(url) == self._key(request.reference)[0]
        return urlunsplit(parts._replace(scheme=scheme, netloc=host)) if own else url

    def _scheme(self, host: str) -> str:
        if not is_loopback(host):
            return "https"
        if host not in self._schemes:
            self._schemes[host] = "https" if _speaks_tls(host) else "http"
        return self._schemes[host]

    def _renew(self, reference: ImageReference, response: requests.Response, authorization: str) -> bool:
        """After a refusal of `authorization`: get what the registry wants; returns whether there is something new."""
        if response.status_code not in (401, 403):
            return False
        key = self._key(reference)
        with self._renewal:
            known = self._authorizations.get(key, "")
            if known != authorization:  # another thread was faster
                return True
            if response.status_code == 401:
                new = self._answer_to(response.headers.get("WWW-Authenticate", ""), reference)
                self._authorizations[key] = new
            else:  # ECR refuses a token that has expired with 403
                new = basic(self._credentials_for(reference)) if authorization.startswith("Basic ") else ""
                self._authorizations[key] = new or authorization
            return bool(new) and new != authorization

    def _answer_to(self, challenge: str, reference: ImageReference) -> str:
        """The authorization that a registry's `WWW-Authenticate` asks for; empty where it asks for none we know."""
        credentials = self._credentials_for(reference)
        scheme, _, parameters = challenge.partition(" ")
        if scheme.lower() == "bearer":
            return f"Bearer {self._bearer_token(dict(_PARAMETER.findall(parameters)), credentials, reference.host)}"
        return basic(credentials) if scheme.lower() == "basic" else ""

    def _bearer_token(self, challenge: dict[str, str], credentials: Credentials | None, host: str) -> str:
        """From the issuer that the registry names (distribution's token authentication)."""
        realm = challenge.get("realm", "")
        query: dict[str, str] = {name: challenge[name] for name in ("service", "scope") if name in challenge}
        try:
            require_private(realm)
            _ = address_parts(realm).port
        except (ValueError, RegistryError) as error:
            raise RegistryError(
                f'registry "{host}" sends its clients to "{realm}" for a token, which is not https, or no address'
            ) from error
        if credentials and credentials.identity_token:  # distribution's OAuth 2
            form = {**query, "grant_type": "refresh_token", "client_id": "xgbpatch"}
            form["refresh_token"] = credentials.identity_token
            request = requests.Request("POST", realm, data=form, auth=Authorization(""))
        else:
            request = requests.Request("GET", realm, params=query, auth=Authorization(basic(credentials)))

        def ask() -> RegistryAnswer:
            with self._http.answer_to(request, _TIMEOUT_SECONDS) as response:
                return answer_of(response)

        answer = self._persistently(ask)
        try:
            tokens = document.parse(answer.body, "a token", {"token": str, "access_token": str})
        except RegistryError:
            tokens = {}
        token = tokens.get("token") or tokens.get("access_token")
        if answer.status != 200 or not token:
            raise RegistryError(
                f'"{without_query(realm)}" gave no token: HTTP {answer.status}', "Check the credentials: docker login."
            )
        return str(token)


def address(reference: ImageReference) -> tuple[str, str]:
    """Host and repository as the HTTP API wants them; raises `RegistryError` for a name without a registry."""
    if not reference.host:
        raise RegistryError(f'"{reference}" names no registry', "Write host/repository:tag.")
    if reference.host in ("docker.io", "index.docker.io"):
        repository = reference.repository
        return "registry-1.docker.io", repository if "/" in repository else f"library/{repository}"
    return reference.host, reference.repository
