"""Requests that no HTTP library would send, byte by byte."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping

SECONDS = 30
ATTEMPTS = 8
RESET = b"[reset]"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"  # said or not, by whether the body had come by then
GOOD = b"0.1,0.2,0.3,0.4,0.5,0.6"


def _request(*lines: str, body: bytes = GOOD, first: str = "POST /invocations HTTP/1.1") -> bytes:
    head = [first, "Host: endpoint", "Content-Type: text/csv", "Connection: close", *lines]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


CHUNKED = "Transfer-Encoding: chunked"
REQUESTS = {
    "body-cut-off": _request("Content-Length: 1000"),
    "large-body-cut-off": _request("Content-Length: 4000000", body=GOOD * 50_000),
    "nothing-of-the-body": _request("Content-Length: 23", body=b""),
    "length-too-short": _request("Content-Length: 11"),
    "length-zero": _request("Content-Length: 0"),
    "length-negative": _request("Content-Length: -23"),
    "length-no-number": _request("Content-Length: many"),
    "length-absurd": _request("Content-Length: 99999999999999999999"),
    "two-lengths": _request("Content-Length: 23", "Content-Length: 11"),
    "no-length": _request(),
    "length-and-chunks": _request("Content-Length: 23", CHUNKED, body=b"17\r\n" + GOOD + b"\r\n0\r\n\r\n"),
    "chunk-cut-off": _request(CHUNKED, body=b"ff\r\n" + GOOD),
    "chunks-without-end": _request(CHUNKED, body=b"17\r\n" + GOOD + b"\r\n"),
    "chunk-size-no-number": _request(CHUNKED, body=b"xyz\r\n" + GOOD + b"\r\n0\r\n\r\n"),
    "chunks-of-an-unknown-coding": _request("Transfer-Encoding: brotli", "Content-Length: 23"),
    "http-1.0": _request("Content-Length: 23", first="POST /invocations HTTP/1.0"),
    "http-9.9": _request("Content-Length: 23", first="POST /invocations HTTP/9.9"),
    "no-http": b"hello, is this an endpoint?\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64,
    "header-of-100-kB": _request("X-Long: " + "a" * 100_000, "Content-Length: 23"),
    "path-of-100-kB": _request("Content-Length: 23", first="POST /invocations?" + "a" * 100_000 + " HTTP/1.1"),
    "500-headers": _request(*(f"X-{number}: a" for number in range(500)), "Content-Length: 23"),
    "header-without-colon": _request("no colon", "Content-Length: 23"),
    "header-with-nul": _request("X-Nul: \0", "Content-Length: 23"),
    "two-content-types": _request("Content-Type: text/libsvm", "Content-Length: 23"),
    "absolute-path": _request("Content-Length: 23", first="POST http://endpoint/invocations HTTP/1.1"),
    "expects-to-continue": _request("Expect: 100-continue", "Content-Length: 23"),
}


# These end before the server has all it waits for, so the client says that nothing follows. It says so of no other:
# nginx takes a client that closes its side for gone, and answers only if the answer is quicker.
UNFINISHED = {"body-cut-off", "large-body-cut-off", "nothing-of-the-body", "chunk-cut-off", "chunks-without-end"}


def exchange(address: str, request: bytes, *, unfinished: bool) -> bytes:
    """What the server says until it closes, the clock in its Date left out."""
    host, _, port = address.partition(":")
    answer = b""
    with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
        try:
            connection.sendall(request)
            if unfinished:
                connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(1 << 16):
                answer += part
        except (ConnectionResetError, BrokenPipeError):
            answer += RESET if not answer else b""
    return re.sub(rb"Date: [^\r]*", b"Date: now", answer.removeprefix(CONTINUE))


def settled(addresses: Mapping[str, str], name: str) -> dict[str, bytes]:
    """What each of the servers says to the request of that name, asked again while only one answers.

    To a finished request each of them has an answer. A server that closes with bytes unread resets the connection, and
    its last words are lost or not as it happens.
    """
    for _ in range(ATTEMPTS):
        answers = {
            part: exchange(address, REQUESTS[name], unfinished=name in UNFINISHED)
            for part, address in addresses.items()
        }
        cut = [text for text in answers.values() if text in (b"", RESET)]
        if not cut or (name in UNFINISHED and len(cut) == len(answers)):
            break
    return answers
