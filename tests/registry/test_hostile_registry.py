"""Whatever a registry or a proxy answers, each call returns a value or raises `RegistryError`.

A small registry of right answers, one of which is spoilt: a value in a document, a header, a status, the body.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.handmade import services_on
from support.raw_server import Answer, Server, served
from xgbpatch.errors import RegistryError, XgbpatchError
from xgbpatch.oci import image as oci_image
from xgbpatch.oci import manifest as oci_manifest
from xgbpatch.oci.manifest import DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Descriptor
from xgbpatch.publish import test_record
from xgbpatch.reference import Credentials, ImageReference
from xgbpatch.registry import referrers
from xgbpatch.registry.blobs import HttpBlobs
from xgbpatch.registry.client import Registry, load_image
from xgbpatch.registry.referrers import Artifact

REPORT = Artifact("application/vnd.example.report", "application/json", b"{}")
LAYER = b"a layer"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def described(content: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content), **more}


class World:
    """The answers of a registry with one image, of which `spoil` may change any value of any document."""

    def __init__(self, host: str, spoil: Callable[[str, Any], bytes]) -> None:
        empty = {"errors": [{"code": "UNKNOWN", "message": "no"}]}
        config = spoil("configuration", {
            "architecture": "amd64", "created": "2026-11-01T10:00:00Z", "history": [{"created_by": "x"}],
            "config": {"Env": ["PATH=/bin"], "Labels": {"io.xgbpatch.spec-digest": "sha256:1"}, "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(b"plain")]},
        })  # fmt: skip
        manifest = spoil("manifest", {
            "schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": described(config, DOCKER_CONFIG),
            "layers": [described(LAYER, DOCKER_LAYER)],
        })  # fmt: skip
        self.digest = digest_of(manifest)
        platform = {"os": "linux", "architecture": "amd64"}
        index = spoil("index", {"manifests": [described(manifest, DOCKER_MANIFEST, platform=platform)]})
        report = spoil("report", {"image": self.digest, "xgbpatch": "1", "date": "2026", "checks": {"ping": "passed"}})
        artifact = spoil("artifact", {"layers": [described(report, test_record.TEST_REPORT)]})
        kind = test_record.TEST_REPORT
        listed = spoil("referrers", {"manifests": [described(artifact, OCI_MANIFEST, artifactType=kind)]})
        upload = Answer({"Location": f"http://{host}/v2/a/b/blobs/uploads/1"}, status=202)
        head = {
            "Content-Type": DOCKER_MANIFEST,
            "Content-Length": str(len(manifest)),
            "Docker-Content-Digest": self.digest,
        }
        self.answers = {
            "HEAD manifests/1": Answer(head),
            "HEAD blobs": Answer(status=404),
            "GET manifests/1": Answer({"Content-Type": DOCKER_MANIFEST}, manifest),
            "GET manifests/index": Answer({"Content-Type": OCI_INDEX}, index),
            f"GET manifests/{self.digest}": Answer({"Content-Type": DOCKER_MANIFEST}, manifest),
            f"GET manifests/{digest_of(artifact)}": Answer({"Content-Type": OCI_MANIFEST}, artifact),
            f"GET blobs/{digest_of(config)}": Answer({}, config),
            f"GET blobs/{digest_of(report)}": Answer({}, report),
            f"GET blobs/{digest_of(LAYER)}": Answer({"Content-Length": str(len(LAYER))}, LAYER),
            "GET referrers": Answer({}, listed),
            "GET tags": Answer({}, spoil("tags", {"name": "a/b", "tags": ["1", "2"]})),
            "GET token": Answer({}, spoil("token", {"token": "t", "access_token": "u"})),
            "GET": Answer({}, spoil("refusal", empty), 404),
            "POST blobs": upload, "PATCH blobs": replace(upload, headers={**upload.headers, "Range": "0-99"}),
            "PUT": Answer({}, status=201), "DELETE": Answer({}, status=202),
        }  # fmt: skip

    def serve(self, server: Server) -> None:
        """Paths are below the repository, but for the issuer's of tokens."""
        server.answers = {
            key.replace(" ", " /" if "token" in key else " /v2/a/b/", 1): answer for key, answer in self.answers.items()
        }


VALUES = [  # as JSON
    "null", "true", "0", "-1", "7.5", "1e999", "NaN", "9" * 5000, '""', '"x"', '"\\ud800"', '"../../x"', '"http://["',
    '"\\u0000\\n"', "[]", "{}", "[null]", "[[]]", '{"a": 1}', '[{"a": null}]', "[" * 100_000,
    "[" * 700 + "]" * 700, '{"a":' * 5000 + "1" + "}" * 5000, "{", "",
]  # fmt: skip
HEADERS = [
    "Content-Length", "Content-Type", "Content-Encoding", "Content-Range", "Docker-Content-Digest", "Link", "Location",
    "OCI-Chunk-Min-Length", "Range", "Retry-After", "Set-Cookie", "Transfer-Encoding", "WWW-Authenticate",
]  # fmt: skip
WORDS = [
    "", "http://[", "//[x]:y/", "https://127.0.0.1:port/", "https://", "http://{host}/v2/a/b/manifests/1", "x" * 300,
    "1e3", "-7", "0", "5", "\xb2", "9" * 5000, "12, 13", "gzip", "deflate", "chunked", "identity, gzip", "sha256:x",
    '<http://[>; rel="next"', '<>; rel="next"', "<x>; rel", 'Bearer realm="http://["', 'Bearer realm="http://{host}/token"',
    'Basic realm="x"', "Bearer", "bytes 5-9/10", "0-5", "bytes=0-99",
    "Mon, 01 Jan , 00:00:00", "Mon, 01 Jan 2026 00:00:00 GMT",
    OCI_INDEX, "\xff\xfe",
]  # fmt: skip
STATUSES = [200, 201, 202, 204, 206, 301, 304, 307, 401, 403, 404, 405, 416, 429, 500, 599]
EXAMPLES = int(os.environ.get("XGBPATCH_FUZZ_EXAMPLES", "200"))  # of each test; the same ones each time
DOCUMENTS = ["configuration", "manifest", "index", "report", "artifact", "referrers", "tags", "token", "refusal"]


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every value in the document, the document first."""
    yield path
    items = dict(enumerate(document)) if isinstance(document, list) else document
    for key, value in items.items() if isinstance(items, dict) else ():
        yield from places(value, (*path, key))


def with_value(document: Any, path: tuple[Any, ...], value: str) -> bytes:
    """The document as JSON, with that JSON at `path`."""
    mark = "here it comes"

    def copy(part: Any, rest: tuple[Any, ...]) -> Any:
        if not rest:
            return mark
        changed = dict(part) if isinstance(part, dict) else list(part)
        changed[rest[0]] = copy(part[rest[0]], rest[1:])
        return changed

    return json.dumps(copy(document, path)).replace(f'"{mark}"', value).encode()


def calls(place: ImageReference, world: World, services: Any) -> dict[str, Callable[[], Any]]:
    """Everything that is asked of a registry, by name; what comes is looked at as its callers do."""
    registry, blobs = services.registry, HttpBlobs(place, services.registry.session)
    pinned = place.with_digest(world.digest)

    def read(offset: int) -> None:
        with blobs.opened(digest_of(LAYER), offset) as pieces:
            b"".join(pieces)

    def image(tag: str) -> None:
        image = load_image(registry, place.with_tag(tag))
        values = image.labels, image.environment, image.created, image.architecture, image.provenance, image.diff_ids
        str(values).encode()
        content = oci_image.patched_config(image, diff_ids=["x"], environment={"A": "b"}, labels={}, created="now")
        added = Descriptor(digest_of(b"x"), DOCKER_LAYER, 1)
        oci_image.patched_manifest(image.manifest, content, [added]).content.decode()

    def upload(size: int) -> None:
        begun = blobs.begin(size)
        begun.send(b"x" * 100)
        begun.finish(digest_of(b"x" * 100))
        begun.cancel()

    def manifest() -> None:
        manifest = registry.manifest(place)
        str(oci_manifest.complaints(manifest)).encode()
        registry.put_manifest(place.with_tag("2"), oci_manifest.repaired(manifest))

    return {
        "head": lambda: registry.head(place), "manifest": manifest, "image": lambda: image("1"),
        "image of an index": lambda: image("index"),
        "tags": lambda: [str(place.with_tag(tag)).encode() for tag in registry.tags(place)],
        "delete": lambda: registry.delete(pinned), "remove_tag": lambda: registry.remove_tag(place),
        "has": lambda: blobs.has(digest_of(LAYER)), "read": lambda: read(0), "read on": lambda: read(3),
        "mount": lambda: blobs.mount(digest_of(LAYER), place), "upload": lambda: upload(100),
        "upload in pieces": lambda: upload(9 << 20),
        "attach": lambda: referrers.attach(registry, blobs, pinned, REPORT),
        "attached": lambda: test_record.latest_pass(services, pinned),
    }  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served() as running:
        yield running


def whole(name: str, value: Any) -> bytes:
    return json.dumps(value).encode()


NAMES = list(calls(ImageReference.parse("x.example/a/b:1"), World("x", whole), services_on(Path("unused"))))


def ask(server: Server, name: str, spoil: Callable[[str, Any], bytes], change: Callable[[World], None]) -> None:
    world = World(server.host, spoil)
    change(world)
    world.serve(server)
    registry = Registry(lambda reference: Credentials("someone", "secret"), lambda seconds: None)
    registry.session._schemes[server.host] = "http"  # to find that out takes longer than all the rest
    calls(server.reference, world, services_on(Path("unused"), registry))[name]()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_right_raises_nothing(server: Server, name: str):
    ask(server, name, whole, lambda world: None)


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)
@given(st.data())
def test_a_document_of_any_form_is_a_value_or_a_registry_error(server: Server, data: st.DataObject):
    document, value = data.draw(st.sampled_from(DOCUMENTS)), data.draw(st.sampled_from(VALUES))

    def spoil(name: str, right: Any) -> bytes:
        if name != document:
            return whole(name, right)
        return with_value(right, data.draw(st.sampled_from(list(places(right)))), value)

    challenged = {"WWW-Authenticate": f'Bearer realm="http://{server.host}/token"'}

    def change(world: World) -> None:
        if document == "token":
            world.answers["GET manifests/1"] = Answer(challenged, status=401)

    name = data.draw(st.sampled_from(NAMES))
    with suppress(RegistryError):
        ask(server, name, spoil, change)


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)
@given(st.data())
def test_an_answer_of_any_form_is_a_value_or_a_registry_error(server: Server, data: st.DataObject):
    header, word = data.draw(st.sampled_from(HEADERS)), data.draw(st.sampled_from(WORDS)).replace("{host}", server.host)
    status, cut = data.draw(st.sampled_from([None, None, *STATUSES])), data.draw(st.integers(0, 3))

    def change(world: World) -> None:
        key = data.draw(st.sampled_from([*world.answers, ""]))  # one of them, or all
        for part in [key] if key else list(world.answers):
            answer = world.answers[part]
            headers = {**answer.headers, header: word}
            world.answers[part] = Answer(headers, answer.body[cut:], status or answer.status)

    with suppress(XgbpatchError):
        ask(server, data.draw(st.sampled_from(NAMES)), whole, change)
