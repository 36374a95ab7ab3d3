"""One request on the wire, and what `requests` makes of failures turned into our own errors.

TLS is always verified, against REQUESTS_CA_BUNDLE where it is set. Plain HTTP is spoken with loopback addresses only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import requests

from xgbpatch.errors import RegistryError
from xgbpatch.registry_exchange import Answer, Unanswered, without_query

_LOOPBACK = re.compile(r"(localhost|127\.\d+\.\d+\.\d+)(:\d+)?")
_LARGEST_BODY = 8 << 20  # manifests and configurations; distribution's own limit for a manifest is 4 MiB
_PIECE = 1 << 18
_DEFAULT_PORTS = {"https": ":443", "http": ":80"}


class Connections(requests.Session):
    """Of one thread. A redirection never carries the authorization elsewhere, nor takes one from ~/.netrc."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Called by `requests` for each redirection."""
        require_private(str(prepared_request.url))
        if host_of(str(response.request.url)) != host_of(str(prepared_request.url)):
            prepared_request.headers.pop("Authorization", None)

    def answer_to(self, request: requests.Request, timeout: tuple[float, float]) -> requests.Response:
        """The answer with its body still to come: close it."""
        with translated(_host_as_written(str(request.url))):
            prepared = self.prepare_request(request)
        require_private(str(prepared.url))
        settings = self.merge_environment_settings(prepared.url, {}, True, None, None)
        with translated(host_of(str(prepared.url))):
            return self.send(prepared, timeout=timeout, allow_redirects=True, **settings)


def is_loopback(host: str) -> bool:
    """With or without a port."""
    return _LOOPBACK.fullmatch(host) is not None


def host_of(url: str) -> str:
    """Host and port, in one spelling: lower case, and without the port that the scheme has anyway."""
    parts = urlsplit(url)
    return parts.netloc.lower().removesuffix(_DEFAULT_PORTS.get(parts.scheme, ""))


def require_private(url: str) -> None:
    """Raises `RegistryError` for an address that could be overheard."""
    if urlsplit(url).scheme != "https" and not is_loopback(host_of(url)):
        raise RegistryError(f'the registry sends its clients to "{host_of(url)}", which is not https')


def body(response: requests.Response) -> bytes:
    """All of it; raises `RegistryError` for what cannot be a manifest."""
    content = bytearray()
    host = host_of(response.url)
    with translated(host):
        for piece in response.iter_content(_PIECE):
            content += piece
            if len(content) > _LARGEST_BODY:
                raise RegistryError(f'"{host}" sent more than {_LARGEST_BODY >> 20} MiB of JSON')
    return bytes(content)


def pieces(response: requests.Response) -> Iterator[bytes]:
    """The body piece by piece; raises `Unanswered` where it ends before its announced length."""
    host = host_of(response.url)
    left = Answer(response.status_code, response.headers).length or 0
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
            raise _distrusted(host, error) from None
        if _is_no_address(error):
            raise _nonsense(host, error) from None
        raise Unanswered(host, _cause(error)) from None
    except ValueError as error:  # of urllib and the encodings below `requests`
        raise _nonsense(host, error) from None
    except OSError as error:  # how requests says that the bundle of certificates is not there
        raise RegistryError(f'no TLS with registry "{host}": {error}', "Correct REQUESTS_CA_BUNDLE.") from error


def is_distrust(error: requests.exceptions.RequestException) -> bool:
    """Whether there is TLS, under a certificate that nobody we trust has signed."""
    return isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error)


def _is_no_address(error: requests.exceptions.RequestException) -> bool:
    """Whether the address itself is wrong, and not the proxy's, nor one answer that came garbled."""
    wrong = (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema)
    return isinstance(error, wrong) and not isinstance(error, requests.exceptions.InvalidProxyURL)


def _nonsense(host: str, error: Exception) -> RegistryError:
    """An address or a header that is none: another try would get it again."""
    return RegistryError(
        f'no HTTP with registry "{host}", for an address or a header is not valid: {without_query(error)}',
        "See what answers there: a proxy may stand between, or the registry has a fault of its own.",
    )


def _host_as_written(url: str) -> str:
    """Also of what is no URL."""
    return url.partition("://")[2].partition("/")[0].partition("?")[0]


def _distrusted(host: str, error: Exception) -> RegistryError:
    return RegistryError(
        f'the certificate of registry "{host}" is not trusted: {_cause(error)}',
        "Point REQUESTS_CA_BUNDLE to a file with its CA certificate (the engine's own copy is "
        f"/etc/docker/certs.d/{host}/ca.crt).",
    )


def _cause(error: Exception) -> object:
    """What lies under urllib3's "Max retries exceeded"."""
    return getattr(error.args[0] if error.args else error, "reason", error)
