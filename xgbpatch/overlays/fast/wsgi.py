"""Calling a WSGI application with a request that an ASGI server has read."""

from __future__ import annotations

import io
import logging
import os
import re
from typing import Any, Callable, List, Mapping, Tuple
from urllib.parse import unquote_to_bytes

Headers = List[Tuple[bytes, bytes]]
Reply = Tuple[int, Headers, bytes]

NAME = re.compile(b"[a-z0-9-]+")  # nginx passes no other header on

logger = logging.getLogger(__name__)


def environ_of(scope: Any, body: bytes) -> Mapping[str, Any]:
    """What gunicorn makes of the request as the base's nginx passes it on."""
    environ = {
        "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(body),
        "wsgi.errors": _Errors(), "wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        "REQUEST_METHOD": scope["method"], "SCRIPT_NAME": "", "SERVER_PROTOCOL": "HTTP/1.0",
        "PATH_INFO": str(unquote_to_bytes(scope["raw_path"]), "latin-1"),
        "QUERY_STRING": str(scope["query_string"], "latin-1"),
        "RAW_URI": str(scope["raw_path"], "latin-1"), "SERVER_SOFTWARE": os.environ.get("SERVER_SOFTWARE", ""),
        "REMOTE_ADDR": "", "SERVER_NAME": "localhost", "SERVER_PORT": "80",
    }  # fmt: skip
    for raw, value in scope["headers"]:
        if NAME.fullmatch(raw) and raw not in (b"connection", b"content-length", b"transfer-encoding", b"expect"):
            name = raw.decode("latin-1").upper().replace("-", "_")
            name = name if name == "CONTENT_TYPE" else "HTTP_" + name
            text = value.decode("latin-1")
            joined = name in environ and name != "CONTENT_TYPE"  # of which gunicorn takes the last
            environ[name] = environ[name] + "," + text if joined else text
    if body or scope["method"] not in ("GET", "HEAD"):
        environ["CONTENT_LENGTH"] = str(len(body))
    return environ


class _Errors(object):
    """Where WSGI applications write of errors: the log."""

    def write(self, text: str) -> None:
        logger.error("%s", text.rstrip())

    def writelines(self, lines: List[str]) -> None:
        self.write("".join(lines))

    def flush(self) -> None:
        """Nothing is held back."""


def called(wsgi: Callable[..., Any], environ: Mapping[str, Any]) -> Reply:
    """What a WSGI application answers."""
    started: List[Tuple[str, List[Tuple[str, str]]]] = []
    written: List[bytes] = []

    def start_response(status: str, headers: List[Tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        started.append((status, headers))
        return written.append

    chunks = wsgi(environ, start_response)
    try:
        body = b"".join(written + list(chunks))
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    status, headers = started[-1]
    return int(status[:3]), [(name.lower().encode("latin-1"), text.encode("latin-1")) for name, text in headers], body
