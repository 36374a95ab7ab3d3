"""Blobs between real registries, with and without faults on the way."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest

from support.blobs import BIG, BLOB, MIB, SMALL, UPLOAD, blobs, content, descriptor, leftovers, store
from support.faulty import Fault, Wrong, faulty
from support.servers import Reply, scripted
from xgbpatch.errors import RegistryError
from xgbpatch.oci.manifest import Descriptor
from xgbpatch.progress import Silent
from xgbpatch.reference import ImageReference
from xgbpatch.registry import copy, transport
from xgbpatch.registry.blobs import HttpBlobs, Traffic, UploadLost


def test_blobs_are_copied_and_the_second_run_moves_nothing(client, plain, other):
    descriptors = store(client, plain, BIG, SMALL)
    size = len(BIG) + len(SMALL)
    moved = copy.copy(blobs(client, plain), blobs(client, other), [*descriptors, descriptors[0]], Silent())
    assert moved == Traffic(sent=size, received=size)
    assert [content(client, other, blob) for blob in descriptors] == [BIG, SMALL]
    again = copy.copy(blobs(client, plain), blobs(client, other), descriptors, Silent())
    assert again == Traffic(present=2)


def test_blobs_are_mounted_within_a_registry(client, plain):
    descriptors = store(client, plain, BIG, SMALL)
    moved = copy.copy(blobs(client, plain), blobs(client, plain, "c/d"), descriptors, Silent())
    assert moved == Traffic(mounted=2)
    assert content(client, plain, descriptors[0], "c/d") == BIG


def test_registry_is_the_same_one_under_another_spelling_of_its_name(client, plain):
    (blob,) = store(client, plain, SMALL)
    here = plain.host.replace("127.0.0.1", "localhost")
    target = HttpBlobs(ImageReference.parse(f"{here}/c/d"), client.session)
    assert target.mount(blob.digest, ImageReference.parse(f"{here.upper()}/a/b"))


def test_mount_that_the_registry_turns_into_an_upload_leaves_none(client, plain, tmp_path):
    store(client, plain, SMALL)
    source = ImageReference.parse(f"{plain.host}/absent/one")
    absent = descriptor(b"never stored")
    assert not blobs(client, plain).mount(absent.digest, source)
    assert leftovers(tmp_path) == []


def test_blob_is_read_from_an_offset_also_where_the_server_knows_no_ranges(client, plain):
    (blob,) = store(client, plain, BIG)
    assert content(client, plain, blob, offset=MIB + 7) == BIG[MIB + 7 :]
    with scripted(Reply(200, SMALL)) as server:
        assert content(client, server, descriptor(SMALL), offset=300) == SMALL[300:]


def test_missing_blob_is_an_error_that_names_the_repository(client, plain):
    with pytest.raises(RegistryError, match="a/b") as caught:
        content(client, plain, descriptor(b"absent"))
    assert "404" in caught.value.message


@pytest.mark.parametrize(
    ("fault", "tries"),
    [
        (Fault("GET", BLOB, Wrong.CUT_ANSWERING, after=9 * MIB), 1),
        (Fault("GET", BLOB, Wrong.CUT_ANSWERING, after=2 * MIB, times=8), 8),
        (Fault("GET", BLOB, Wrong.CUT_ANSWERING, after=1, times=3), 3),
        (Fault("GET", BLOB, Wrong.REFUSED, status=500), 1),
        (Fault("GET", BLOB, Wrong.REFUSED, status=429, headers={"Retry-After": "7"}), 1),
        (Fault("GET", BLOB, Wrong.ANSWER_LOST, times=2), 2),
    ],
    ids=["cut in the middle", "cut again and again", "cut at once", "500", "429", "no answer"],
)
def test_fault_on_reading_is_overcome_and_nothing_is_read_twice(client, plain, other, pauses, fault, tries):
    descriptors = store(client, plain, BIG)
    with faulty(plain.host, fault) as proxy:
        moved = copy.copy(blobs(client, proxy), blobs(client, other), descriptors, Silent())
        assert proxy.count("GET", BLOB) == tries + 1
        assert proxy.received() < len(BIG) + MIB
    assert moved.sent == moved.received == len(BIG)
    assert content(client, other, descriptors[0]) == BIG
    assert pauses[0] == (7.0 if fault.status == 429 else 0.5)


def test_reading_that_is_cut_behind_the_last_byte_is_complete(client):
    unended = Reply(200, b"%x\r\n%s\r\n" % (len(SMALL), SMALL), {"Transfer-Encoding": "chunked"})
    with scripted(unended, Reply(416)) as server:
        assert content(client, server, descriptor(SMALL)) == SMALL
        assert server.seen[-1][2]["Range"] == f"bytes={len(SMALL)}-"


def test_end_that_the_registry_claims_too_early_is_found_by_the_digest(client, plain, other):
    descriptors = store(client, plain, BIG)
    cut, refused = Fault("GET", BLOB, Wrong.CUT_ANSWERING, after=9 * MIB), Fault("GET", BLOB, Wrong.REFUSED, status=416)
    with faulty(plain.host, cut, refused) as proxy, pytest.raises(RegistryError, match="wrong bytes"):
        copy.copy(blobs(client, proxy), blobs(client, other), descriptors, Silent())
    assert not blobs(client, other).has(descriptors[0].digest)


def test_reading_that_never_gets_further_ends(client, plain, other, tmp_path_factory):
    descriptors = store(client, plain, BIG)
    with faulty(plain.host, Fault("GET", BLOB, Wrong.CUT_ANSWERING, after=0, times=99)) as proxy:
        with pytest.raises(RegistryError, match="4 times"):
            copy.copy(blobs(client, proxy), blobs(client, other), descriptors, Silent())
        assert proxy.count("GET", BLOB) == 4
    assert not blobs(client, other).has(descriptors[0].digest)


@pytest.mark.parametrize(
    ("fault", "waits"),
    [
        (Fault("PATCH", UPLOAD, Wrong.CUT_SENDING, after=3 * MIB, skip=1), [0.5]),
        (Fault("PATCH", UPLOAD, Wrong.REFUSED, status=503, skip=1), [0.5]),
        (Fault("PATCH", UPLOAD, Wrong.REFUSED, status=429, headers={"Retry-After": "7"}, skip=1), [7.0]),
        (Fault("PUT", UPLOAD, Wrong.REFUSED, status=500), [0.5]),
        (Fault("PUT", UPLOAD, Wrong.ANSWER_LOST), []),
        (Fault("POST", UPLOAD, Wrong.REFUSED, status=502), [0.5]),
    ],
    ids=["cut in the middle", "503", "429", "500 at the end", "the last answer lost", "502 at the beginning"],
)
def test_fault_on_writing_is_overcome_from_where_the_registry_stands(client, plain, other, pauses, fault, waits):
    descriptors = store(client, plain, BIG)
    with faulty(other.host, fault) as proxy:
        moved = copy.copy(blobs(client, plain), blobs(client, proxy), descriptors, Silent())
        assert proxy.sent() <= len(BIG) + 8 * MIB  # one piece twice at the most
    assert moved == Traffic(sent=len(BIG), received=len(BIG))
    assert pauses == waits
    assert content(client, other, descriptors[0]) == BIG


@pytest.mark.parametrize("refusal", [503, 416])
def test_piece_of_which_the_registry_kept_a_part_is_completed(client, refusal):
    """As the specification has it; distribution 2 forgets such an upload."""
    replies = [
        Reply(202, headers={"Location": "/first?a=b"}),
        Reply(refusal),
        Reply(204, headers={"Location": "/second", "Range": f"0-{3 * MIB - 1}"}),
        Reply(202, headers={"Location": "/third", "Range": f"0-{8 * MIB - 1}"}),
        Reply(202, headers={"Location": "/fourth?c=d"}),
        Reply(201),
    ]
    with scripted(*replies) as server:
        upload = blobs(client, server).begin(9 * MIB)
        upload.send(bytes(8 * MIB))
        upload.send(bytes(MIB))
        upload.finish("sha256:x")
        ranges = [headers.get("Content-Range") for method, _, headers in server.seen if method == "PATCH"]
        assert ranges == [f"0-{8 * MIB - 1}", f"{3 * MIB}-{8 * MIB - 1}", f"{8 * MIB}-{9 * MIB - 1}"]
        paths = [path for _, path, _ in server.seen[1:]]
        assert paths == ["/first?a=b", "/first?a=b", "/second", "/third", "/fourth?c=d&digest=sha256:x"]


@pytest.mark.parametrize("wrong", [Wrong.HALF_ARRIVED, Wrong.ANSWER_LOST])
def test_upload_that_the_registry_lost_is_begun_again_alone(client, plain, other, pauses, wrong):
    """Distribution 2 forgets an upload of which it has more than it acknowledged."""
    descriptors = store(client, plain, SMALL, BIG)
    with faulty(other.host, Fault("PATCH", UPLOAD, wrong, after=MIB, skip=1)) as proxy:
        copy.copy(blobs(client, plain), blobs(client, proxy), descriptors, Silent(), pauses.append)
    assert [content(client, other, blob) for blob in descriptors] == [SMALL, BIG]


@pytest.mark.parametrize("skip", [0, 1], ids=["first piece", "second piece"])
@pytest.mark.parametrize("status", [404, 410])
def test_upload_that_the_registry_no_longer_knows_is_begun_again(client, other, pauses, status, skip):
    with faulty(other.host, Fault("PATCH", UPLOAD, Wrong.REFUSED, status=status, skip=skip)) as proxy:
        copy.put(blobs(client, proxy), io.BytesIO(BIG), descriptor(BIG), Silent(), pauses.append)
        assert proxy.count("POST") == 2
    assert pauses == [0.5]
    assert content(client, other, descriptor(BIG)) == BIG


def test_upload_that_the_registry_never_knows_is_given_up(client, other, pauses):
    refusal = Fault("PATCH", UPLOAD, Wrong.REFUSED, status=404, times=99)
    with faulty(other.host, refusal) as proxy, pytest.raises(RegistryError, match="HTTP 404") as caught:
        copy.put(blobs(client, proxy), io.BytesIO(BIG), descriptor(BIG), Silent(), pauses.append)
    assert proxy.count("PATCH") == 4
    assert pauses == [0.5, 1.0, 2.0]
    assert "engine" in caught.value.next_step
    assert leftovers(Path(other.log).parent) == []


def test_writing_that_never_gets_further_ends(client, pauses):
    stuck = Reply(202, headers={"Location": "/upload", "Range": "0-0"})
    fine = Reply(202, headers={"Location": "/upload", "Range": f"0-{8 * MIB - 1}"})
    with scripted(stuck, *[stuck] * 9, fine) as server:
        upload = blobs(client, server).begin(9 * MIB)
        with pytest.raises(UploadLost, match="lost"):
            upload.send(bytes(8 * MIB))
        assert len(server.seen) == 1 + 4
    assert pauses == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(("least", "size"), [("", 8 * MIB), ("²", 8 * MIB), ("5", 8 * MIB), (f"{16 * MIB}", 16 * MIB)])
def test_pieces_are_as_large_as_the_registry_wants(client, least, size):
    with scripted(Reply(202, headers={"Location": "/upload", "OCI-Chunk-Min-Length": least})) as server:
        assert blobs(client, server).begin(99 * MIB).piece_bytes == size


@pytest.mark.parametrize("least", [f"{16 * MIB + 1}", "9" * 5000], ids=["a byte too much", "absurd"])
def test_pieces_that_memory_is_too_small_for_are_refused(client, least):
    with scripted(Reply(202, headers={"Location": "/upload", "OCI-Chunk-Min-Length": least})) as server:
        with pytest.raises(RegistryError, match="no pieces below") as caught:
            blobs(client, server).begin(99 * MIB)
        assert server.seen[-1][:2] == ("DELETE", "/upload")
    assert "engine" in caught.value.next_step


def test_registry_that_takes_its_time_to_finish_a_blob_is_waited_for(client, other, pauses, monkeypatch):
    piece = BIG[: 8 * MIB]
    with faulty(other.host, Fault("PUT", UPLOAD, Wrong.LATE, seconds=1.0)) as proxy:
        upload = blobs(client, proxy).begin(len(BIG))
        upload.send(piece)
        monkeypatch.setattr(transport, "_TIMEOUT_SECONDS", (1.0, 0.3))
        upload.finish(descriptor(piece).digest)
        assert [request.method for request in proxy.seen] == ["POST", "PATCH", "PUT"]
    assert pauses == []


def test_blob_that_the_registry_finished_late_is_not_sent_again(client, pauses):
    absent, there = Reply(404), Reply(200)
    piece = Reply(202, headers={"Location": "/upload"})
    with scripted(absent, piece, piece, piece, piece, absent, absent, Reply(204), there) as server:
        moved = copy.put(blobs(client, server), io.BytesIO(BIG), descriptor(BIG), Silent(), pauses.append)
        assert [method for method, _, _ in server.seen[4:]] == ["PATCH", "PUT", "HEAD", "DELETE", "HEAD"]
    assert moved == Traffic(sent=len(BIG))
    assert pauses == [0.5]


@pytest.mark.parametrize("wrong", [Wrong.CUT_SENDING, Wrong.HALF_ARRIVED, Wrong.ANSWER_LOST])
def test_small_blob_survives_a_cut(client, other, wrong):
    with faulty(other.host, Fault("PUT", UPLOAD, wrong, after=500)) as proxy:
        (blob,) = store(client, proxy, SMALL)
        assert proxy.count("PUT") == (1 if wrong is Wrong.ANSWER_LOST else 2)
    assert content(client, other, blob) == SMALL


def test_wrong_bytes_from_the_source_are_never_visible(client, plain, other, tmp_path_factory):
    descriptors = store(client, plain, SMALL, BIG)
    with (
        faulty(plain.host, Fault("GET", descriptors[1].digest, Wrong.FLIPPED, after=9 * MIB)) as proxy,
        pytest.raises(RegistryError, match="wrong bytes") as caught,
    ):
        copy.copy(blobs(client, proxy), blobs(client, other), descriptors, Silent())
    assert descriptors[1].digest in caught.value.message
    assert not blobs(client, other).has(descriptors[1].digest)
    assert leftovers(Path(other.log).parent) == []


def test_size_that_the_manifest_did_not_announce_is_refused(client, plain, other):
    (blob,) = store(client, plain, SMALL)
    lie = Descriptor(blob.digest, blob.media_type, 10)
    with pytest.raises(RegistryError, match="wrong bytes"):
        copy.copy(blobs(client, plain), blobs(client, other), [lie], Silent())
    assert not blobs(client, other).has(blob.digest)


def test_layer_that_lies_elsewhere_is_refused(client, plain, other):
    foreign = Descriptor("sha256:" + "1" * 64, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", 10)
    with pytest.raises(RegistryError, match="outside of registries"):
        copy.copy(blobs(client, plain), blobs(client, other), [foreign], Silent())


def test_first_error_ends_the_other_workers_and_the_next_run_sends_the_rest(client, plain, other):
    contents = [random.Random(seed).randbytes(2000 if seed == 0 else 1000) for seed in range(40)]
    descriptors = store(client, plain, *contents)
    refused = Fault("PUT", f"{UPLOAD}.*{descriptors[0].digest}", Wrong.REFUSED, status=403, times=99)
    with faulty(other.host, refused) as proxy, pytest.raises(RegistryError, match="403"):
        copy.copy(blobs(client, plain), blobs(client, proxy), descriptors, Silent())
    there = sum(blobs(client, other).has(blob.digest) for blob in descriptors)
    assert there < 30, "the longest is the first, and most of the others were not begun when it failed"
    assert leftovers(Path(other.log).parent) == []
    moved = copy.copy(blobs(client, plain), blobs(client, other), descriptors, Silent())
    assert moved == Traffic(sent=2000 + (39 - there) * 1000, received=2000 + (39 - there) * 1000, present=there)


@pytest.mark.parametrize("status", [405, 415, 501])
def test_registry_that_takes_no_pieces_is_told_apart(client, plain, other, status):
    descriptors = store(client, plain, SMALL, BIG)
    refusal = Fault("PATCH", UPLOAD, Wrong.REFUSED, status=status, times=99)
    with faulty(other.host, refusal) as proxy, pytest.raises(RegistryError, match="in pieces") as caught:
        copy.copy(blobs(client, plain), blobs(client, proxy), descriptors, Silent())
    assert "engine" in caught.value.next_step
    assert leftovers(Path(other.log).parent) == []
