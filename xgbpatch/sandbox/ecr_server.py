"""The sandbox's AWS endpoint: moto's server, with ECR's images answered from the sandbox's registries.

`python -m xgbpatch.sandbox.ecr_server STATE-DIRECTORY`; address and port are those of the state's endpoint.
"""

from __future__ import annotations

import io
import json
import re
import secrets
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from itsdangerous import BadSignature, URLSafeTimedSerializer
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple
from werkzeug.utils import send_file
from werkzeug.wrappers import Request, Response

from xgbpatch.sandbox import registries
from xgbpatch.sandbox.ecr_api import Calls, EcrCall, EcrRefusal, StoredRepository
from xgbpatch.sandbox.state import SandboxState, read

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]

_TARGET = "AmazonEC2ContainerRegistry_V20150921."
_SCOPE = re.compile(r"Credential=[^/]+/\d+/([^/]+)/")
_LAYERS = "/xgbpatch-sandbox/layers/"
_JSON = "application/x-amz-json-1.1"


class Links:
    """URLs at which a blob can be fetched for a while without credentials, as S3's presigned ones."""

    def __init__(self, state: SandboxState, seconds: int = 3600) -> None:
        self._state = state
        self._seconds = seconds
        self._signer = URLSafeTimedSerializer(secrets.token_hex())

    def make(self, call: EcrCall, digest: str) -> str:
        """The URL of a blob of the call's repository."""
        token = self._signer.dumps([call.registry.host, call.name, digest])
        return f"{self._state.endpoint}{_LAYERS}{call.registry.account}/{call.registry.region}/{token}"

    def answer(self, request: Request) -> Response:
        """The blob, or the range of it that was asked for; 403 once the time is over."""
        try:
            token = request.path.rpartition("/")[2]
            host, name, digest = self._signer.loads(token, max_age=self._seconds)
        except BadSignature:  # too old, or never ours
            return Response("<Error><Code>AccessDenied</Code></Error>", 403, content_type="application/xml")
        registry = next(one for one in self._state.registries if one.host == host)
        file = StoredRepository(registries.store(registry, self._state), name).layer(digest)
        if file is None:
            return Response("<Error><Code>NoSuchKey</Code></Error>", 404, content_type="application/xml")
        return send_file(file, request.environ, mimetype="application/octet-stream", conditional=True, etag=digest)


class Front:
    """A WSGI application in front of moto's; whatever it does not know goes there untouched."""

    def __init__(self, state: SandboxState, moto: Application, links: Links) -> None:
        self._moto = moto
        self._links = links
        self._calls = Calls(state, links.make)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        target = request.headers.get("X-Amz-Target", "")
        if request.path.startswith(_LAYERS):
            return self._links.answer(request)(environ, start_response)
        if target == "SageMaker.ListAlgorithms":  # moto has no algorithms, and says so with a 500
            return _json(200, {"AlgorithmSummaryList": []})(environ, start_response)
        if not target.startswith(_TARGET):
            return self._moto(environ, start_response)
        return self._answer(target[len(_TARGET) :], request)(environ, start_response)

    def _answer(self, operation: str, request: Request) -> Response:
        body = request.get_data()
        scope = _SCOPE.search(request.headers.get("Authorization", ""))
        call = self._calls.read(scope[1] if scope else "", json.loads(body or b"{}"))
        handler = self._calls.handler(operation, call) if call else None
        if call is None or handler is None:
            return self._pass(request, body, call)
        try:
            return _json(200, handler(call))
        except EcrRefusal as refusal:
            return _json(400, refusal.body)

    def _pass(self, request: Request, body: bytes, call: EcrCall | None) -> Response:
        """moto's answer, with its records made to agree with the registry before, and the registry with them after."""
        environ = {**request.environ, "wsgi.input": io.BytesIO(body)}
        if call is None:
            return Response.from_app(self._moto, environ, buffered=True)
        with self._calls.lock:
            before = call.agree()
            response = Response.from_app(self._moto, environ, buffered=True)
            call.settle(before)
        return response


def main(directory: Path) -> None:
    """Serve until SIGTERM."""
    state = read(directory)
    if state is None:
        raise SystemExit(f'no sandbox has its state in "{directory}"')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    front = Front(state, DomainDispatcherApplication(create_backend_app), Links(state))
    address = urlsplit(state.endpoint)
    run_simple(str(address.hostname), address.port or 80, front, threaded=True, request_handler=MotoRequestHandler)


def _json(status: int, document: dict[str, Any]) -> Response:
    return Response(json.dumps(document), status, content_type=_JSON)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
