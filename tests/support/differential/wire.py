"""A request put on the wire exactly as it is written: no header is added but Host and Content-Length."""

from __future__ import annotations

import http.client

from xgbpatch.contract.http import Answer, Request

SECONDS = 60
BROKEN = 0  # the status of an exchange that ended without an answer


def send(address: str, request: Request, seconds: float = SECONDS) -> Answer:
    """The answer over a connection of its own; an exchange that breaks is an Answer too, of status BROKEN.

    Header names are lower case, in the order they came; what came twice is joined by a newline.
    """
    connection = http.client.HTTPConnection(address, timeout=seconds)
    try:
        connection.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers(request):
            connection.putheader(name, value)
        connection.endheaders(framed(request))
        return read(connection)
    except (OSError, http.client.HTTPException) as error:
        return Answer(BROKEN, {}, type(error).__name__.encode())
    finally:
        connection.close()


def headers(request: Request) -> list[tuple[str, str]]:
    """Host is one name for all servers, so that no answer can differ by it."""
    length = () if chunked(request) or not (request.body or request.method == "POST") else (len(request.body),)
    return [("Host", "endpoint"), *request.headers, *(("Content-Length", str(size)) for size in length)]


def chunked(request: Request) -> bool:
    return ("Transfer-Encoding", "chunked") in request.headers


def framed(request: Request) -> bytes:
    """The body, in chunks of seven bytes where the request says so."""
    if not chunked(request):
        return request.body
    parts = [request.body[at : at + 7] for at in range(0, len(request.body), 7)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def read(connection: http.client.HTTPConnection) -> Answer:
    response = connection.getresponse()
    body = response.read()
    headers: dict[str, str] = {}
    for name, value in response.getheaders():
        headers[name.lower()] = f"{headers[name.lower()]}\n{value}" if name.lower() in headers else value
    return Answer(response.status, headers, body)
