"""Layers by ECR's API: sent in parts that must fit, had back from an address that ends."""

import secrets
from types import SimpleNamespace

import pytest
import requests
from botocore.exceptions import ClientError
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from support.sandbox.ecr_calls import MIB, code, digest_of, upload
from xgbpatch.sandbox.ecr_server import Links


def test_layer_of_many_parts_comes_back_in_ranges(ecr, repository):
    content = secrets.token_bytes(25 * MIB)
    digest = upload(ecr, repository, content)
    answer = ecr.batch_check_layer_availability(repositoryName=repository, layerDigests=[digest, digest_of(b"none")])
    assert [(one["layerAvailability"], one.get("layerSize")) for one in answer["layers"]] == [
        ("AVAILABLE", len(content)),
        ("UNAVAILABLE", None),
    ]
    url = ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=digest)["downloadUrl"]
    assert requests.get(url, timeout=120).content == content
    rest = requests.get(url, headers={"Range": f"bytes={24 * MIB}-"}, timeout=120)
    assert (rest.status_code, rest.content) == (206, content[24 * MIB :])
    assert rest.headers["Content-Range"] == f"bytes {24 * MIB}-{25 * MIB - 1}/{25 * MIB}"


def test_part_out_of_place_is_refused_and_the_upload_goes_on(ecr, repository):
    begun = ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
    common = {"repositoryName": repository, "uploadId": begun}
    ecr.upload_layer_part(**common, partFirstByte=0, partLastByte=5 * MIB - 1, layerPartBlob=bytes(5 * MIB))
    with pytest.raises(ClientError) as raised:
        ecr.upload_layer_part(**common, partFirstByte=0, partLastByte=5 * MIB - 1, layerPartBlob=bytes(5 * MIB))
    assert code(raised) == "InvalidLayerPartException"
    assert raised.value.response["lastValidByteReceived"] == 5 * MIB - 1
    ecr.upload_layer_part(**common, partFirstByte=5 * MIB, partLastByte=5 * MIB + 2, layerPartBlob=b"end")
    digest = digest_of(bytes(5 * MIB) + b"end")
    assert ecr.complete_layer_upload(**common, layerDigests=[digest])["layerDigest"] == digest


@pytest.mark.parametrize(
    ("parts", "digest", "expected"),
    [
        ([b"small", b"er"], digest_of(b"smaller"), "LayerPartTooSmallException"),
        ([b"other"], digest_of(b"words"), "InvalidLayerException"),
        ([], digest_of(b""), "EmptyUploadException"),
    ],
    ids=["small-part", "wrong-digest", "empty"],
)
def test_upload_that_ecr_refuses_at_its_end(ecr, repository, parts, digest, expected):
    begun, first = ecr.initiate_layer_upload(repositoryName=repository)["uploadId"], 0
    for part in parts:
        last = first + len(part) - 1
        ecr.upload_layer_part(
            repositoryName=repository, uploadId=begun, partFirstByte=first, partLastByte=last, layerPartBlob=part
        )
        first = last + 1
    with pytest.raises(ClientError) as raised:
        ecr.complete_layer_upload(repositoryName=repository, uploadId=begun, layerDigests=[digest])
    assert code(raised) == expected
    (layer,) = ecr.batch_check_layer_availability(repositoryName=repository, layerDigests=[digest])["layers"]
    assert layer["layerAvailability"] == "UNAVAILABLE"


def test_layer_that_is_there_is_not_uploaded_twice(ecr, repository):
    upload(ecr, repository, b"once")
    with pytest.raises(ClientError) as raised:
        upload(ecr, repository, b"once")
    assert code(raised) == "LayerAlreadyExistsException"


def test_upload_of_another_repository_is_unknown(ecr, repository):
    begun = ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
    other = f"{repository}-other"
    ecr.create_repository(repositoryName=other)
    with pytest.raises(ClientError) as raised:
        ecr.upload_layer_part(repositoryName=other, uploadId=begun, partFirstByte=0, partLastByte=0, layerPartBlob=b"x")
    assert code(raised) == "UploadNotFoundException"


def test_address_of_a_layer_that_was_tampered_with_is_refused(ecr, repository):
    digest = upload(ecr, repository, b"secret")
    url = ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=digest)["downloadUrl"]
    head, _, signature = url.rpartition(".")
    assert requests.get(f"{head}.{signature[::-1]}", timeout=120).status_code == 403


@pytest.mark.parametrize(("seconds", "status"), [(60, 200), (-1, 403)], ids=["in-time", "too-late"])
def test_address_of_a_layer_ends(running, ecr, own, repository, seconds, status):
    digest = upload(ecr, repository, b"for a while")
    links = Links(running, seconds)
    call = SimpleNamespace(registry=own, name=repository)
    path = links.make(call, digest).removeprefix(running.endpoint)
    assert links.answer(Request(EnvironBuilder(path).get_environ())).status_code == status
