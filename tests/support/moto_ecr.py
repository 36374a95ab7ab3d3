"""moto's ECR behind a door that can go wrong, and with the one call that moto lacks: GetDownloadUrlForLayer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Thread

import requests


class EcrDoor(ThreadingHTTPServer):
    """`layers` can be downloaded, by digest; `faults` befall calls by their name, `None` being a lost answer."""

    daemon_threads = True

    def __init__(self, moto: str) -> None:
        super().__init__(("127.0.0.1", 0), _Call)
        self.moto = moto
        self.layers: dict[str, bytes] = {}
        self.faults: list[tuple[str, Mapping[str, object] | None]] = []
        self.cuts: list[int] = []  # after so many bytes, one a download
        self.calls: list[str] = []
        self.downloads: list[tuple[str, str]] = []  # signature and range
        self.signatures = count(1)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that is cut is what this is for."""


class _Call(BaseHTTPRequestHandler):
    server: EcrDoor

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        name = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        self.server.calls.append(name)
        if name == "GetDownloadUrlForLayer":
            return self._reply(200, self._url(json.loads(body)["layerDigest"]))
        wrong = next((fault for fault in self.server.faults if fault[0] == name), None)
        if wrong:
            self.server.faults.remove(wrong)
            if wrong[1]:
                return self._reply(400, json.dumps(wrong[1]).encode())
        headers = {key: value for key, value in self.headers.items() if key != "Host"}
        answer = requests.post(self.server.moto, data=body, headers=headers, timeout=300)
        return self._reply(500, b"{}") if wrong else self._reply(answer.status_code, answer.content)

    def _url(self, digest: str) -> bytes:
        signature = f"X-Amz-Signature={next(self.server.signatures)}"
        return json.dumps({"downloadUrl": f"{self.server.url}/{digest}?{signature}", "layerDigest": digest}).encode()

    def do_GET(self) -> None:
        digest, _, signature = self.path[1:].partition("?X-Amz-Signature=")
        self.server.downloads.append((signature, self.headers.get("Range", "")))
        first = int((re.search(r"\d+", self.headers.get("Range", "")) or ["0"])[0])
        if "Authorization" in self.headers or digest not in self.server.layers:
            return self._reply(403, b"<Error/>")
        body = self.server.layers[digest][first:]
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Range", f"bytes {first}-{first + len(body) - 1}/*")
        self.end_headers()
        self.wfile.write(body[: self.server.cuts.pop(0)] if self.server.cuts else body)
        return None

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def ecr_door(moto: str) -> Iterator[EcrDoor]:
    with EcrDoor(moto) as door:
        Thread(target=door.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield door
        finally:
            door.shutdown()
