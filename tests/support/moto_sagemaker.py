"""moto's SageMaker behind a door with the two calls that moto lacks: ListAlgorithms and DescribeAlgorithm."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import requests


class SageMakerDoor(ThreadingHTTPServer):
    """`algorithms` are what DescribeAlgorithm answers, by name."""

    daemon_threads = True

    def __init__(self, moto: str) -> None:
        super().__init__(("127.0.0.1", 0), _Call)
        self.moto = moto
        self.algorithms: dict[str, Mapping[str, object]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Call(BaseHTTPRequestHandler):
    server: SageMakerDoor

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        name = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        if name == "ListAlgorithms":
            listed = [{"AlgorithmName": name} for name in self.server.algorithms]
            return self._reply(200, json.dumps({"AlgorithmSummaryList": listed}).encode())
        if name == "DescribeAlgorithm":
            return self._reply(200, json.dumps(self.server.algorithms[json.loads(body)["AlgorithmName"]]).encode())
        headers = {key: value for key, value in self.headers.items() if key != "Host"}
        answer = requests.post(self.server.moto, data=body, headers=headers, timeout=300)
        return self._reply(answer.status_code, answer.content)

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def sagemaker_door(moto: str) -> Iterator[SageMakerDoor]:
    with SageMakerDoor(moto) as door:
        Thread(target=door.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield door
        finally:
            door.shutdown()
