"""HTTP with registries: which scheme, whose credentials, how often to try. What is asked lies in `xgbpatch.registry`.

TLS is always verified, against REQUESTS_CA_BUNDLE where it is set. Plain HTTP is spoken with loopback addresses only,
and only where nothing speaks TLS there, as the Docker Engine does.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import requests

from xgbpatch.engine.values import Credentials
from xgbpatch.errors import RegistryError
from xgbpatch.reference import ImageReference

CredentialsFor = Callable[[ImageReference], Credentials | None]

_ATTEMPTS = 4
_LONGEST_PAUSE_SECONDS = 30.0
_TIMEOUT_SECONDS = (10, 60)  # to connect, and between two bytes
_LARGEST_BODY = 8 << 20  # manifests and configurations; distribution's own limit for a manifest is 4 MiB
_TRANSIENT = frozenset({429, 500, 502, 503, 504})
_LOOPBACK = re.compile(r"(localhost|127\.\d+\.\d+\.\d+)(:\d+)?")
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Request:
    """One call on the repository of `reference`: `path` is relative to it (`manifests/<tag>`)."""

    reference: ImageReference
    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What came back, read to its end. `headers` are case-insensitive."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class RegistrySession:
    """Keeps connections, schemes and authorizations of the registries it talks to."""

    def __init__(self, credentials_for: CredentialsFor, pause: Callable[[float], None] = time.sleep) -> None:
        self._credentials_for = credentials_for
        self._pause = pause
        self._http = requests.Session()
        self._schemes: dict[str, str] = {}
        self._authorizations: dict[tuple[str, str], str] = {}

    def send(self, request: Request) -> Answer:
        """The registry's answer, whatever its status; authorized by the registry's own challenge where it asks.

        Tries again on 429, 5xx and broken connections; raises `RegistryError` when no answer comes at all.
        """
        answer = self._call(request)
        if answer.status == 401 and self._authorize(request.reference, answer.headers.get("WWW-Authenticate", "")):
            answer = self._call(request)
        return answer

    def _call(self, request: Request) -> Answer:
        host, repository = _address(request.reference)
        authorization = self._authorizations.get((host, repository), "")
        url = f"{self._scheme(host)}://{host}/v2/{repository}/{request.path}"
        prepared = requests.Request(
            request.method, url, headers=dict(request.headers), data=request.body, auth=_Authorization(authorization)
        )
        return self._persistently(host, prepared)

    def _persistently(self, host: str, request: requests.Request) -> Answer:
        for attempt in range(1, _ATTEMPTS + 1):
            last = attempt == _ATTEMPTS
            try:
                answer = self._once(request)
            except requests.exceptions.RequestException as error:
                if _is_distrust(error):
                    raise _distrusted(host, error) from error
                if last:
                    raise _silent(host, error) from error
                self._pause(_backoff(attempt))
                continue
            except OSError as error:  # how requests says that the bundle of certificates is not there
                raise RegistryError(f'no TLS with registry "{host}": {error}', "Correct REQUESTS_CA_BUNDLE.") from error
            if answer.status not in _TRANSIENT or last or _asked_pause(answer, attempt) > _LONGEST_PAUSE_SECONDS:
                return answer
            self._pause(_asked_pause(answer, attempt))
        raise AssertionError("the last attempt returns or raises")

    def _once(self, request: requests.Request) -> Answer:
        prepared = self._http.prepare_request(request)
        settings = self._http.merge_environment_settings(prepared.url, {}, True, None, None)
        with self._http.send(prepared, timeout=_TIMEOUT_SECONDS, allow_redirects=True, **settings) as response:
            return Answer(response.status_code, response.headers, _body(response))

    def _scheme(self, host: str) -> str:
        if not _LOOPBACK.fullmatch(host):
            return "https"
        if host not in self._schemes:
            self._schemes[host] = "https" if self._speaks_tls(host) else "http"
        return self._schemes[host]

    def _speaks_tls(self, host: str) -> bool:
        """A certificate that cannot be verified is TLS too: the call that follows says so, nothing is sent plain."""
        try:
            self._http.get(f"https://{host}/v2/", timeout=_TIMEOUT_SECONDS, auth=_Authorization(""))
        except requests.exceptions.RequestException as error:
            return _is_distrust(error)
        except OSError:
            return True
        return True

    def _authorize(self, reference: ImageReference, challenge: str) -> bool:
        """Answer a challenge; returns whether there is something new to send."""
        credentials = self._credentials_for(reference)
        scheme, _, rest = challenge.partition(" ")
        authorization = ""
        if scheme.lower() == "bearer":
            authorization = f"Bearer {self._bearer_token(dict(_PARAMETER.findall(rest)), credentials)}"
        elif scheme.lower() == "basic" and credentials:
            authorization = _basic(credentials)
        key = _address(reference)
        known = self._authorizations.get(key)
        self._authorizations[key] = authorization
        return bool(authorization) and authorization != known

    def _bearer_token(self, challenge: Mapping[str, str], credentials: Credentials | None) -> str:
        realm = challenge.get("realm", "")
        address = urlsplit(realm)
        if address.scheme != "https" and not _LOOPBACK.fullmatch(address.netloc):
            raise RegistryError(f'the registry sends its clients to "{realm}" for a token, which is not https')
        parameters = {name: challenge[name] for name in ("service", "scope") if name in challenge}
        authorization = _Authorization(_basic(credentials) if credentials else "")
        answer = self._persistently(
            address.netloc, requests.Request("GET", realm, params=parameters, auth=authorization)
        )  # fmt: skip
        return _token(realm, answer)


class _Authorization(requests.auth.AuthBase):
    """Exactly the header given: without an `auth` of its own requests would take one from ~/.netrc."""

    def __init__(self, header: str) -> None:
        self._header = header

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._header:
            request.headers["Authorization"] = self._header
        return request


def _address(reference: ImageReference) -> tuple[str, str]:
    if not reference.host:
        raise RegistryError(f'"{reference}" names no registry', "Write host/repository:tag.")
    if reference.host in ("docker.io", "index.docker.io"):
        repository = reference.repository
        return "registry-1.docker.io", repository if "/" in repository else f"library/{repository}"
    return reference.host, reference.repository


def _body(response: requests.Response) -> bytes:
    body = b""
    for piece in response.iter_content(1 << 16):
        body += piece
        if len(body) > _LARGEST_BODY:
            raise RegistryError(f'"{urlsplit(response.url).netloc}" sent more than {_LARGEST_BODY >> 20} MiB of JSON')
    return body


def _backoff(attempt: int) -> float:
    return 0.5 * float(2 ** (attempt - 1))


def _asked_pause(answer: Answer, attempt: int) -> float:
    """Seconds that Retry-After asks for, as a number or a date (RFC 9110, 10.2.3); else the usual pause."""
    asked = answer.headers.get("Retry-After", "")
    if asked.isdigit():
        return float(asked)
    try:
        return max(0.0, parsedate_to_datetime(asked).timestamp() - time.time())
    except ValueError:
        return _backoff(attempt)


def _basic(credentials: Credentials) -> str:
    pair = f"{credentials.username}:{credentials.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _token(realm: str, answer: Answer) -> str:
    import json

    try:
        document = json.loads(answer.body)
        token = document.get("token") or document.get("access_token")
    except (ValueError, AttributeError):
        token = None
    if answer.status != 200 or not token:
        raise RegistryError(f'"{realm}" gave no token: HTTP {answer.status}', "Check the credentials: docker login.")
    return str(token)


def _is_distrust(error: requests.exceptions.RequestException) -> bool:
    return isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error)


def _distrusted(host: str, error: Exception) -> RegistryError:
    return RegistryError(
        f'the certificate of registry "{host}" is not trusted: {_cause(error)}',
        "Point REQUESTS_CA_BUNDLE to a file with its CA certificate (the engine's own copy is "
        f"/etc/docker/certs.d/{host}/ca.crt).",
    )


def _cause(error: Exception) -> object:
    """What lies under urllib3's "Max retries exceeded"."""
    return getattr(error.args[0] if error.args else error, "reason", error)


def _silent(host: str, error: Exception) -> RegistryError:
    return RegistryError(
        f'registry "{host}" did not answer {_ATTEMPTS} times: {_cause(error)}',
        "Check the host's name, the network and the proxy (HTTPS_PROXY, NO_PROXY).",
    )
