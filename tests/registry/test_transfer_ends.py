"""How transfers end: tokens that expire, interrupts, refused manifests, two pushes at once, and little memory."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.blobs import BIG, BLOB, MIB, SMALL, UPLOAD, blobs, content, descriptor, leftovers, store
from support.faulty import Fault, Wrong, faulty
from support.registries import USER, free_port
from support.servers import Reply, scripted
from xgbpatch.errors import RegistryError
from xgbpatch.oci.manifest import DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST, Descriptor, Manifest
from xgbpatch.progress import Silent
from xgbpatch.reference import Credentials, ImageReference
from xgbpatch.registry import copy
from xgbpatch.registry.client import Registry

CHILD = """
import signal, sys
from xgbpatch.oci.manifest import DOCKER_LAYER, Descriptor
from xgbpatch.progress import Silent
from xgbpatch.reference import ImageReference
from xgbpatch.registry.client import Registry
from xgbpatch.registry import copy
from xgbpatch.registry.blobs import HttpBlobs

signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
session = Registry(lambda reference: None).session
source, target = (HttpBlobs(ImageReference.parse(name), session) for name in sys.argv[1:3])
copy.copy(source, target, [Descriptor(sys.argv[3], DOCKER_LAYER, int(sys.argv[4]))], Silent())
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def copying(source, target, blob):
    return [sys.executable, "-c", CHILD, f"{source.host}/a/b", f"{target.host}/a/b", blob.digest, str(blob.size)]


def challenge(value):
    return Reply(401, headers={"WWW-Authenticate": value})


def hash_of_zeros(size):
    hashed = hashlib.sha256()
    for _ in range(size // MIB):
        hashed.update(bytes(MIB))
    return hashed.hexdigest()


def unseen(server):
    """A reference by digest into a scripted server."""
    return ImageReference.parse(f"{server.host}/a/b@sha256:" + "1" * 64)


def image(client, place, *contents):
    """An image's manifest, its blobs stored."""
    config, *layers = store(client, place, *contents)
    document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": DOCKER_CONFIG, "size": config.size, "digest": config.digest},
        "layers": [{"mediaType": DOCKER_LAYER, "size": layer.size, "digest": layer.digest} for layer in layers],
    }
    return Manifest(json.dumps(document).encode(), DOCKER_MANIFEST)


def test_token_that_expires_between_two_pieces_is_replaced(client, plain, other):
    descriptors = store(client, plain, BIG)
    with scripted(Reply(200, b'{"token": "one"}'), Reply(200, b'{"token": "two"}')) as issuer:
        challenge = {"WWW-Authenticate": f'Bearer realm="http://{issuer.host}/token"'}
        first = Fault("HEAD", BLOB, Wrong.REFUSED, status=401, headers=challenge)
        expired = Fault("PATCH", UPLOAD, Wrong.REFUSED, status=401, headers=challenge, skip=1)
        with faulty(other.host, first, expired) as proxy:
            copy.copy(blobs(client, plain), blobs(client, proxy), descriptors, Silent())
            tokens = [request.authorization for request in proxy.seen if request.method == "PATCH"]
            assert tokens == ["Bearer one", "Bearer one", "Bearer two", "Bearer two"]
            assert proxy.sent() <= len(BIG) + 8 * MIB
    assert content(client, other, descriptors[0]) == BIG


def test_token_that_expires_while_a_blob_is_read_is_replaced(client, plain, other):
    descriptors = store(client, plain, BIG)
    with scripted(Reply(200, b'{"token": "fresh"}')) as issuer:
        challenge = {"WWW-Authenticate": f'Bearer realm="http://{issuer.host}/token"'}
        cut = Fault("GET", BLOB, Wrong.CUT_ANSWERING, after=9 * MIB)
        expired = Fault("GET", BLOB, Wrong.REFUSED, status=401, headers=challenge)
        with faulty(plain.host, cut, expired) as proxy:
            copy.copy(blobs(client, proxy), blobs(client, other), descriptors, Silent())
            assert [request.authorization for request in proxy.seen if request.method == "GET"][-1] == "Bearer fresh"
            assert proxy.received() < len(BIG) + MIB


def test_password_that_ecr_calls_expired_with_403_is_asked_for_again(plain, other):
    passwords = iter(["old", "new", "new"])
    registry = Registry(lambda reference: Credentials("AWS", next(passwords)), lambda seconds: None)
    descriptors = store(registry, plain, BIG)
    first = Fault("HEAD", BLOB, Wrong.REFUSED, status=401, headers={"WWW-Authenticate": 'Basic realm="ecr"'})
    expired = Fault("PATCH", UPLOAD, Wrong.REFUSED, status=403, skip=1)
    with faulty(other.host, first, expired) as proxy:
        copy.copy(blobs(registry, plain), blobs(registry, proxy), descriptors, Silent())
        authorizations = [request.authorization for request in proxy.seen if request.method == "PATCH"]
        assert authorizations[0] == authorizations[1] != authorizations[2] == authorizations[3]


def test_four_workers_share_one_login(client, other, guarded, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(guarded.ca))
    contents = [bytes([number]) * 1000 for number in range(12)]
    descriptors = store(client, other, *contents)
    registry = Registry(lambda reference: USER if reference.host == guarded.host else None)
    copy.copy(blobs(registry, other), blobs(registry, guarded), descriptors, Silent())
    assert [content(registry, guarded, blob) for blob in descriptors] == contents
    assert blobs(registry, guarded, "c/d").mount(descriptors[0].digest, guarded.reference("a/b"))


def test_store_behind_the_registry_gets_no_password_and_its_address_stays_secret(client):
    with scripted(Reply(403, b"<Error>X-Amz-Signature=secret</Error>")) as store_:
        there = Reply(307, headers={"Location": f"http://{store_.host}/blob?X-Amz-Signature=secret"})
        with scripted(challenge('Basic realm="x"'), there) as server:
            registry = Registry(lambda reference: USER, lambda seconds: None)
            with pytest.raises(RegistryError, match="403") as caught:
                content(registry, server, descriptor(SMALL))
            assert "Authorization" in server.seen[-1][2]
        assert "Authorization" not in store_.seen[-1][2]
    assert "secret" not in f"{caught.value.message} {caught.value.next_step}"


def test_store_that_asks_for_a_token_gets_no_password_either():
    with scripted() as store_:
        realm = f'Bearer realm="http://{store_.host}/token"'
        store_.replies = [challenge(realm), Reply(200, b'{"token": "x"}'), Reply(200, SMALL)]
        there = Reply(307, headers={"Location": f"http://{store_.host}/blob"})
        with scripted(there) as server, pytest.raises(RegistryError, match="401"):
            content(Registry(lambda reference: USER), server, descriptor(SMALL))
        assert [(path, headers.get("Authorization")) for _, path, headers in store_.seen] == [("/blob", None)]


def test_store_that_is_not_there_is_named_without_its_query(client):
    port = free_port()
    there = Reply(307, headers={"Location": f"http://127.0.0.1:{port}/blob?X-Amz-Signature=secret"})
    with scripted(there) as server, pytest.raises(RegistryError, match=str(port)) as caught:
        content(client, server, descriptor(SMALL))
    assert "secret" not in caught.value.message
    assert caught.value.__cause__ is None


def test_store_without_tls_is_not_followed(client):
    there = Reply(307, headers={"Location": "http://store.example.com/blob?signature=secret"})
    with scripted(there) as server, pytest.raises(RegistryError, match="not https") as caught:
        content(client, server, descriptor(SMALL))
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_interrupt_ends_a_copy_at_once_and_gives_its_upload_up(client, plain, other, number):
    (blob,) = store(client, plain, BIG)
    with faulty(other.host, Fault("PATCH", UPLOAD, Wrong.SILENT, skip=1)) as proxy:
        child = subprocess.Popen(copying(plain, proxy, blob), stderr=subprocess.DEVNULL)
        while proxy.count("PATCH") < 2:
            assert child.poll() is None
            time.sleep(0.02)
        begun = time.monotonic()
        child.send_signal(number)
        assert child.wait(120) in (-signal.SIGINT, 143)
        assert time.monotonic() - begun < 30, "a silent registry is waited for twice as long"
    assert not blobs(client, other).has(blob.digest)
    assert leftovers(Path(other.log).parent) == []


def test_memory_does_not_grow_with_the_blob(client, plain, other, tmp_path):
    size = 300 * MIB
    with (tmp_path / "sparse").open("wb+") as sparse:
        sparse.truncate(size)
        descriptor = Descriptor(f"sha256:{hash_of_zeros(size)}", DOCKER_LAYER, size)
        copy.put(blobs(client, plain), sparse, descriptor, Silent())
    child = subprocess.run(
        copying(plain, other, descriptor), stdout=subprocess.PIPE, text=True, check=True, timeout=600
    )
    assert int(child.stdout) < 100 * 1024, "kilobytes"
    assert blobs(client, other).has(descriptor.digest)


@pytest.mark.parametrize("status", [400, 413])
def test_manifest_that_the_registry_refuses_leaves_the_tag_where_it_was(client, other, status):
    before = client.put_manifest(other.reference("a/b:1"), image(client, other, b"{}", SMALL))
    new = image(client, other, b"{ }", BIG)
    with (
        faulty(other.host, Fault("PUT", "/manifests/", Wrong.REFUSED, status=status, times=99)) as proxy,
        pytest.raises(RegistryError, match=str(status)),
    ):
        client.put_manifest(blobs(client, proxy, "a/b:1").reference, new)
    assert client.head(other.reference("a/b:1")).digest == before.digest


def test_two_pushes_of_one_tag_leave_one_whole_image(plain, other):
    def push(number):
        registry = Registry(lambda reference: None)
        manifest = image(registry, plain, b"{%d}" % number, bytes([number]) * (9 * MIB), SMALL)
        needed = (manifest.config, *manifest.layers)
        copy.copy(blobs(registry, plain), blobs(registry, other), needed, Silent())
        return registry.put_manifest(other.reference("a/b:1"), manifest).digest

    with ThreadPoolExecutor(4) as pool:
        pushed = list(pool.map(push, range(4)))
    registry = Registry(lambda reference: None)
    winner = registry.manifest(other.reference("a/b:1"))
    assert winner.digest in pushed
    for blob in (winner.config, *winner.layers):
        assert descriptor(content(registry, other, blob)).digest == blob.digest


def test_manifest_without_a_tag_stands_under_its_digest_and_can_be_deleted(client, plain):
    manifest = image(client, plain, b"{}", SMALL)
    place = plain.reference(f"a/b@{manifest.digest}")
    assert client.put_manifest(place, manifest) == place
    assert client.manifest(place) == manifest
    assert client.tags(place) == ()
    with pytest.raises(RegistryError, match="wrong bytes"):
        client.put_manifest(plain.reference("a/b@sha256:" + "1" * 64), manifest)
    assert client.delete(place)
    assert client.head(place) is None
    assert client.delete(place), "what is gone is gone"


def test_registry_that_deletes_nothing_says_so(client):
    with scripted(Reply(405)) as server:
        assert not client.delete(unseen(server))


def test_tags_are_listed_page_by_page(client, plain):
    pages = [
        Reply(200, b'{"tags": ["1", "2"]}', {"Link": '</v2/a/b/tags/list?last=2&n=2>; rel="next"'}),
        Reply(200, b'{"tags": ["3"]}'),
    ]
    with scripted(*pages) as server:
        assert client.tags(unseen(server)) == ("1", "2", "3")
        assert server.seen[-1][1] == "/v2/a/b/tags/list?last=2&n=2"
    for tag in ("x", "y"):
        client.put_manifest(plain.reference(f"a/b:{tag}"), image(client, plain, b"{}", SMALL))
    assert sorted(client.tags(plain.reference("a/b"))) == ["x", "y"]
    assert client.tags(plain.reference("absent/one")) == ()
