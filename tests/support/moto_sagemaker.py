"""moto's SageMaker behind a door with what moto lacks: ListAlgorithms, DescribeAlgorithm, transform jobs that do not
end at once, and refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import requests


class SageMakerDoor(ThreadingHTTPServer):
    """`algorithms` are what DescribeAlgorithm answers, by name. `statuses` are those that DescribeTransformJob tells of
    a job that is there, call by call (None is moto's own); `refused` are operations that nobody may call."""

    daemon_threads = True

    def __init__(self, moto: str) -> None:
        super().__init__(("127.0.0.1", 0), _Call)
        self.moto = moto
        self.algorithms: dict[str, Mapping[str, object]] = {}
        self.statuses: list[str | None] = []
        self.refused: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Call(BaseHTTPRequestHandler):
    server: SageMakerDoor

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        name = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        if name == "ListAlgorithms":
            algorithms = [{"AlgorithmName": name} for name in self.server.algorithms]
            return self._reply(200, json.dumps({"AlgorithmSummaryList": algorithms}).encode())
        if name == "DescribeAlgorithm":
            return self._reply(200, json.dumps(self.server.algorithms[json.loads(body)["AlgorithmName"]]).encode())
        if name in self.server.refused:
            return self._reply(400, b'{"__type": "AccessDeniedException", "message": "the door refuses"}')
        headers = {key: value for key, value in self.headers.items() if key != "Host"}
        answer = requests.post(self.server.moto, data=body, headers=headers, timeout=300)
        content = answer.content
        if name == "DescribeTransformJob" and answer.ok and self.server.statuses:
            status = self.server.statuses.pop(0)
            fields = {"TransformJobStatus": status, "FailureReason": "the door says so"} if status else {}
            content = json.dumps({**answer.json(), **fields}).encode()
        return self._reply(answer.status_code, content)

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
