"""Images derived from a base with one thing broken, so that every check is seen to fail."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from support.bases import RUN_ID
from support.layers import tar_of
from xgbpatch.engine.client import Engine
from xgbpatch.progress import Silent
from xgbpatch.provenance import BASE_DIGEST, BASE_NAME, FEATURES, FIXES, SPEC_DIGEST
from xgbpatch.reference import ImageReference

# First on PATH, so that the base's own command stays reachable behind it.
FOLDER = "/opt/broken/bin"
BEHIND = f'PATH="${{PATH#{FOLDER}:}}"'

ANSWERS_ANYTHING = """#!/bin/sh
for python in python python3; do command -v $python >/dev/null && break; done
exec $python -c '
import os
from http.server import BaseHTTPRequestHandler, HTTPServer

class Liar(BaseHTTPRequestHandler):
    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        rows = self.rfile.read(length).count(b"\\n") + 1
        body = b"1.5\\n" * rows
        self.send_response(200)
        self.send_header("Content-Type", "text/csv")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_HEAD = answer
    def log_message(self, *_):
        pass

HTTPServer(("", int(os.environ.get("SAGEMAKER_BIND_TO_PORT") or 8080)), Liar).serve_forever()
'
"""
FORGETS = ("SAGEMAKER_BATCH", "SAGEMAKER_INFERENCE_OUTPUT",
           "MAX_CONTENT_LENGTH", "XGBPATCH_SHAP_LAYOUT")  # fmt: skip


@dataclass(frozen=True)
class Breakage:
    """What is laid over a base: commands put before its own on PATH, variables, labels, and a RUN line."""

    name: str
    commands: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    run: str = ""


def original(command: str, before: str) -> str:
    """A shell script that does `before` and then becomes the base's own command."""
    return f"#!/bin/sh\n{before}\n{BEHIND}; exec {command}\n"


def claims(base_name: str, base_id: str, features: str = "", fixes: str = "") -> dict[str, str]:
    """The labels of an image that says it was patched from that base."""
    labels = {SPEC_DIGEST: "sha256:" + "0" * 64, BASE_NAME: base_name, BASE_DIGEST: base_id}
    return labels | {FEATURES: features, FIXES: fixes}


@contextmanager
def built(engine: Engine, base: str, breakage: Breakage) -> Iterator[str]:
    """The name of the derived image, which is gone again when the block ends."""
    tag = ImageReference.parse(f"xgbpatch-tests/broken-{RUN_ID}:{breakage.name}")
    context = _context(base, breakage)
    engine.build(context, "linux/amd64", Silent(), tag=tag)
    try:
        yield str(tag)
    finally:
        engine.remove(tag)


def _context(base: str, breakage: Breakage) -> io.BytesIO:
    lines = [f"FROM {base}", *(f"LABEL {name}={value!r}" for name, value in breakage.labels.items())]
    lines += [f"ENV {name}={value}" for name, value in breakage.environment.items()]
    if breakage.commands:
        lines += [f"COPY bin {FOLDER}", f"ENV PATH={FOLDER}:$PATH"]
    if breakage.run:
        lines.append(f"RUN {breakage.run}")
    files = {"Dockerfile": "\n".join(lines)} | {f"bin/{name}": text for name, text in breakage.commands.items()}
    return io.BytesIO(tar_of([(name, text.encode()) for name, text in files.items()]))
