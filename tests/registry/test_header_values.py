"""Headers that a registry, or a proxy before it, leaves out or fills with nonsense: over HTTP on loopback."""

from __future__ import annotations

import hashlib
import json
import ssl

import pytest
import trustme

from support.raw_server import Answer, Server, served
from xgbpatch.errors import RegistryError
from xgbpatch.oci.manifest import OCI_MANIFEST, Descriptor
from xgbpatch.patch import wheels
from xgbpatch.patch.packages import Pin
from xgbpatch.progress import Silent
from xgbpatch.registry import referrers
from xgbpatch.registry.blobs import HttpBlobs
from xgbpatch.registry.client import Registry
from xgbpatch.registry.http import RegistryRequest
from xgbpatch.registry.referrers import Artifact

CONTENT = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": []}).encode()
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
REAL = Descriptor(DIGEST, OCI_MANIFEST, len(CONTENT))
TYPE = {"Content-Type": OCI_MANIFEST}
HEAD = {**TYPE, "Docker-Content-Digest": DIGEST, "Content-Length": str(len(CONTENT))}
ARTIFACT = Artifact("application/vnd.example.report", "application/json", b"{}")
MANY_DIGITS = "1" * 5000  # more than Python reads


def anonymous() -> Registry:
    return Registry(lambda reference: None, lambda seconds: None)


def upload(server: Server) -> None:
    begun = HttpBlobs(server.reference, anonymous().session).begin(1)
    begun.send(b"x")
    begun.finish(DIGEST)


LENGTHS = pytest.mark.parametrize(
    "length",
    [
        pytest.param(None, id="absent"),
        pytest.param("", id="empty"),
        pytest.param("0", id="zero"),
        pytest.param("-7", id="negative"),
        pytest.param("12 kB", id="no number"),
        pytest.param("\xb2", id="superscript"),
        pytest.param(MANY_DIGITS, id="more digits than Python reads"),
    ],
)


def head_with(length: str | None) -> dict[str, str]:
    headers = {**TYPE, "Docker-Content-Digest": DIGEST}
    return headers if length is None else {**headers, "Content-Length": length}


@LENGTHS
def test_head_without_a_length_that_counts_bytes_reads_the_manifest(length):
    with served(HEAD=Answer(head_with(length)), GET=Answer(TYPE, CONTENT)) as server:
        assert anonymous().head(server.reference) == REAL
        assert [call.split()[0] for call in server.calls] == ["HEAD", "GET"]


def test_head_with_all_headers_downloads_nothing():
    with served(HEAD=Answer(HEAD)) as server:
        assert anonymous().head(server.reference) == REAL
        assert [call.split()[0] for call in server.calls] == ["HEAD"]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({**HEAD, "Content-Encoding": "gzip", "Content-Length": "20"}, id="length of a compressed answer"),
        pytest.param({key: HEAD[key] for key in ("Docker-Content-Digest", "Content-Length")}, id="no media type"),
    ],
)
def test_head_that_tells_not_enough_reads_the_manifest(headers):
    with served(HEAD=Answer(headers), GET=Answer(TYPE, CONTENT)) as server:
        assert anonymous().head(server.reference) == REAL


def test_a_manifest_without_a_media_type_is_what_it_calls_itself():
    with served(HEAD=Answer({}), GET=Answer({}, CONTENT)) as server:
        assert anonymous().head(server.reference) == REAL


@pytest.mark.parametrize("length", [None, "", "0", "-7", "7", "12 kB", MANY_DIGITS])
def test_the_subject_of_an_artifact_has_the_size_of_its_manifest(length):
    """Whatever a HEAD says of it: the manifest itself is read."""
    accepted, upload = Answer(status=201), Answer({"Location": "/v2/a/b/blobs/uploads/1"}, status=202)
    with served(
        HEAD=Answer(status=404), POST=upload, PUT=accepted, GET_manifests=Answer(TYPE, CONTENT),
        GET_referrers=Answer({}, b'{"manifests": []}'),
    ) as server:  # fmt: skip
        server.answers[f"HEAD /v2/a/b/manifests/{DIGEST}"] = Answer(head_with(length))
        registry, image = anonymous(), server.reference.with_digest(DIGEST)
        referrers.attach(registry, HttpBlobs(image, registry.session), image, ARTIFACT)
        subject = json.loads(server.put[-1])["subject"]
        assert subject == {"mediaType": OCI_MANIFEST, "digest": DIGEST, "size": len(CONTENT)}


def test_the_manifest_that_is_read_instead_is_verified():
    with served(HEAD=Answer(head_with(None)), GET=Answer(TYPE, b'{"another": "one"}')) as server:
        with pytest.raises(RegistryError, match="wrong bytes") as caught:
            anonymous().head(server.reference.with_digest(DIGEST))
        assert server.host in caught.value.message


def test_an_empty_manifest_is_refused():
    with served(HEAD=Answer(TYPE), GET=Answer(TYPE)) as server:
        with pytest.raises(RegistryError, match="empty manifest") as caught:
            anonymous().head(server.reference)
        assert server.host in caught.value.message


DIGESTS = pytest.mark.parametrize("digest", ["sha256:1234", "latest", f"sha512:{'0' * 128}", DIGEST.upper()])


@DIGESTS
@pytest.mark.parametrize("method", ["head", "find"])
def test_a_digest_that_is_none_is_an_error_that_names_the_host(digest, method):
    headers = {**HEAD, "Docker-Content-Digest": digest}
    with served(HEAD=Answer(headers), GET=Answer({**TYPE, "Docker-Content-Digest": digest}, CONTENT)) as server:
        with pytest.raises(RegistryError, match="Docker-Content-Digest") as caught:
            getattr(anonymous(), method)(server.reference)
        assert server.host in caught.value.message


def test_a_digest_that_is_none_after_a_put_is_an_error():
    with served(GET=Answer(TYPE, CONTENT), PUT=Answer({"Docker-Content-Digest": "done"}, status=201)) as server:
        manifest = anonymous().manifest(server.reference)
        with pytest.raises(RegistryError, match="Docker-Content-Digest"):
            anonymous().put_manifest(server.reference, manifest)


@pytest.mark.parametrize(
    "date",
    [
        pytest.param("soon", id="a word"),
        pytest.param("\xb2", id="superscript"),
        pytest.param("Mon, 01 Jan 0001 00:00:00 -0000", id="before all clocks"),
        pytest.param("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", id="a year that is none"),
        pytest.param("Mon, 01 Jan 2026 00:00:00 +99999999", id="a zone that is none"),
        pytest.param("Mon, 01 Jan , 00:00:00 GMT", id="a year that is a comma"),
        pytest.param(MANY_DIGITS, id="for ever"),
    ],
)
def test_a_pause_that_nobody_can_read_ends_as_the_refusal_it_belongs_to(date):
    with served(GET=Answer({"Retry-After": date}, status=503)) as server:
        with pytest.raises(RegistryError, match="HTTP 503") as caught:
            anonymous().find(server.reference)
        assert server.host in caught.value.message


ADDRESSES = pytest.mark.parametrize(
    "address",
    [
        pytest.param("http://[half/x", id="half an IPv6 address"),
        pytest.param("https://127.0.0.1:port/x", id="a port in letters"),
        pytest.param("https://127.0.0.1:99999999/x", id="a port too high"),
        pytest.param("https://", id="no host"),
        pytest.param("gopher://127.0.0.1/x", id="another protocol"),
        pytest.param("https://a..b/x", id="an empty label"),
        pytest.param(f"https://{'a' * 64}.example/x", id="a label too long"),
    ],
)


@ADDRESSES
def test_a_redirection_to_no_address_is_an_error_that_names_the_registry(address):
    with served(GET=Answer({"Location": address}, status=307)) as server, pytest.raises(RegistryError):
        anonymous().find(server.reference)


@ADDRESSES
def test_a_registry_with_tls_that_redirects_to_no_address_is_an_error(address, tmp_path, monkeypatch):
    """Whether TLS is spoken is asked first, by a call of its own."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    with served(context, GET=Answer({"Location": address}, status=307)) as server, pytest.raises(RegistryError):
        anonymous().find(server.reference)


@ADDRESSES
def test_a_list_that_goes_on_at_no_address_is_an_error(address):
    page = Answer({"Link": f'<{address}>; rel="next"'}, b'{"tags": ["1"]}')
    with served(GET=page) as server, pytest.raises(RegistryError):
        anonymous().tags(server.reference)


@ADDRESSES
def test_an_upload_at_no_address_is_an_error(address):
    with served(POST=Answer({"Location": address}, status=202)) as server, pytest.raises(RegistryError):
        upload(server)


@pytest.mark.parametrize("address", ["http://[half/x", "https://127.0.0.1:port/x", "https://127.0.0.1:99999999/x"])
@pytest.mark.parametrize("header", ["Link", "Location", "redirection"])
def test_an_address_that_is_none_names_the_registry_that_sent_it(address, header):
    answers = {
        "Link": {"GET": Answer({"Link": f'<{address}>; rel="next"'}, b'{"tags": []}')},
        "Location": {"POST": Answer({"Location": address}, status=202)},
        "redirection": {"GET": Answer({"Location": address}, status=307)},
    }[header]
    with served(**answers) as server:
        with pytest.raises(RegistryError) as caught:
            upload(server) if header == "Location" else anonymous().tags(server.reference)
        assert server.host in caught.value.message


@pytest.mark.parametrize("size", [1, 9 << 20], ids=["whole", "in pieces"])
def test_an_upload_without_an_address_is_an_error_and_nothing_is_put(size):
    with served(POST=Answer(status=202)) as server:
        with pytest.raises(RegistryError, match='"Location"') as caught:
            HttpBlobs(server.reference, anonymous().session).begin(size).finish(DIGEST)
        assert server.host in caught.value.message
        assert server.put == []


def test_a_mount_that_became_an_upload_without_an_address_deletes_nothing():
    with served(POST=Answer(status=202)) as server:
        assert not HttpBlobs(server.reference, anonymous().session).mount(DIGEST, server.reference)
        assert [call for call in server.calls if call.startswith("DELETE")] == []


@pytest.mark.parametrize("realm", ["http://[half", "", "https://127.0.0.1:port/", "https://127.0.0.1:99999999/"])
def test_an_issuer_of_tokens_at_no_address_is_an_error_that_names_the_registry(realm):
    with served(GET=Answer({"WWW-Authenticate": f'Bearer realm="{realm}"'}, status=401)) as server:
        with pytest.raises(RegistryError, match="for a token") as caught:
            anonymous().find(server.reference)
        assert server.host in caught.value.message


@pytest.mark.parametrize("token", ["a\nb", "\u2603"], ids=["two lines", "not Latin-1"])
def test_a_token_that_no_header_can_carry_is_an_error(token):
    with served() as server:
        issuer = Answer({}, json.dumps({"token": token}).encode())
        challenge = {"WWW-Authenticate": f'Bearer realm="http://{server.host}/token"'}
        server.answers = {"GET /token": issuer, "GET": Answer(challenge, status=401)}
        with pytest.raises(RegistryError) as caught:
            anonymous().find(server.reference)
        assert server.host in caught.value.message


@pytest.mark.parametrize("length", [None, "", "-7", "12 kB", "\xb2", MANY_DIGITS])
def test_a_blob_is_read_to_the_end_of_the_connection_where_its_length_is_none(length):
    headers = {} if length is None else {"Content-Length": length}
    with (
        served(GET=Answer(headers, b"content")) as server,
        HttpBlobs(server.reference, anonymous().session).opened(DIGEST) as pieces,
    ):
        assert b"".join(pieces) == b"content"


@pytest.mark.parametrize("length", ["12 kB", "\xb2"])
def test_a_wheel_is_downloaded_whatever_its_announced_length_says(tmp_path, length):
    sha256 = hashlib.sha256(b"a wheel").hexdigest()
    with served(GET=Answer({"Content-Length": length}, b"a wheel")) as server:
        pin = Pin("a", "1", "a-1-py3-none-any.whl", f"http://{server.host}/a-1-py3-none-any.whl", sha256)
        assert wheels.fetch(pin, tmp_path, Silent()).read_bytes() == b"a wheel"


@pytest.mark.parametrize("method", ["head", "find"])
def test_two_lengths_at_once_are_an_error_that_names_the_host(method):
    answer = Answer({**TYPE, "Content-Length": "12, 13"}, CONTENT)
    with served(HEAD=answer, GET=answer) as server:
        with pytest.raises(RegistryError) as caught:
            getattr(anonymous(), method)(server.reference)
        assert server.host in caught.value.message


@pytest.mark.parametrize("part", ["", "bytes", "bytes x-y/z", f"bytes {MANY_DIGITS}-{MANY_DIGITS}/*", "bytes 5-9/10"])
def test_another_part_than_was_asked_for_is_an_error_that_names_the_host(part):
    with served(GET=Answer({"Content-Range": part}, b"tent", status=206)) as server:
        with (
            pytest.raises(RegistryError, match="another part") as caught,
            HttpBlobs(server.reference, anonymous().session).opened(DIGEST, 3) as pieces,
        ):
            b"".join(pieces)
        assert server.host in caught.value.message


@pytest.mark.parametrize("stands", ["0-x", "bytes", f"0-{MANY_DIGITS}", "5-9", "0-99999999"])
def test_an_upload_that_stands_where_it_cannot_is_lost_and_no_traceback(stands):
    place = Answer({"Location": "/v2/a/b/blobs/uploads/1"}, status=202)
    with served(POST=place, PATCH=Answer({"Range": stands}, status=202)) as server:
        begun = HttpBlobs(server.reference, anonymous().session).begin(9 << 20)
        with pytest.raises(RegistryError, match="has lost a part") as caught:
            begun.send(b"x" * 100)
        assert server.host in caught.value.message


@pytest.mark.parametrize("least", ["many", "-1", MANY_DIGITS])
def test_a_least_size_of_pieces_is_taken_or_refused_by_the_host_s_name(least):
    begun = Answer({"Location": "/v2/a/b/blobs/uploads/1", "OCI-Chunk-Min-Length": least}, status=202)
    with served(POST=begun) as server:
        blobs = HttpBlobs(server.reference, anonymous().session)
        if least == MANY_DIGITS:
            with pytest.raises(RegistryError, match=r"takes no pieces below") as caught:
                blobs.begin(9 << 20)
            assert server.host in caught.value.message
        else:
            assert blobs.begin(9 << 20).piece_bytes == 8 << 20


@pytest.mark.parametrize("value", ["\xff\xfe", "\xe4"], ids=["no UTF-8", "Latin-1"])
def test_a_redirection_in_another_encoding_is_an_error(value):
    with served(GET=Answer({"Location": f"http://{value}/"}, status=307)) as server:
        with pytest.raises(RegistryError) as caught:
            anonymous().session.send(RegistryRequest(server.reference, "GET", "manifests/1"))
        assert server.host in caught.value.message
