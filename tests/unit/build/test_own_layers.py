"""The reader of the layers that xgbpatch adds: what it lists, and how damaged or hostile bytes are refused."""

from __future__ import annotations

import gzip
import hashlib
import tarfile

import pytest

from support.layers import Shelf, described, tar_of
from xgbpatch import provenance
from xgbpatch.build import ownership
from xgbpatch.build.ownership import OwnedImage, OwnLayer
from xgbpatch.errors import BaseImageError, ContractError
from xgbpatch.oci.image import RemoteImage
from xgbpatch.oci.manifest import DOCKER_MANIFEST, Manifest
from xgbpatch.reference import ImageReference

FINE = tar_of([("opt/", None), ("opt/xgbpatch/", None), ("opt/xgbpatch/a", b"a"), ("opt/xgbpatch/bin/b", b"b")])


def files(plain: bytes, diff_id: str = ""):
    blob = gzip.compress(plain)
    layer = OwnLayer(described(blob), diff_id or f"sha256:{hashlib.sha256(plain).hexdigest()}")
    return list(ownership._files(Shelf({layer.blob.digest: blob}), layer))


def header(name="opt/xgbpatch/a", size=0, kind=tarfile.REGTYPE, pax=None):
    member = tarfile.TarInfo(name)
    member.size, member.type, member.pax_headers = size, kind, pax or {}
    return member.tobuf(tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT)


def test_the_files_of_a_layer_are_listed_with_what_they_hold():
    assert files(FINE) == [
        ("/opt/xgbpatch/a", False, hashlib.sha256(b"a").hexdigest()),
        ("/opt/xgbpatch/bin/b", True, hashlib.sha256(b"b").hexdigest()),
    ]


def test_what_stands_behind_the_last_file_counts_for_the_digest():
    assert files(FINE + b"more" * 100_000) == files(FINE)


def test_a_layer_that_is_not_what_the_configuration_says_is_refused():
    with pytest.raises(ContractError, match="the configuration says"):
        files(FINE, f"sha256:{'0' * 64}")


SPARSE = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}


@pytest.mark.parametrize(
    "plain",
    [
        pytest.param(header(size=1 << 60), id="a member of 2^60 bytes"),
        pytest.param(header(size=30 << 30), id="a member that does not come"),
        pytest.param(header(size=1 << 40, kind=tarfile.GNUTYPE_SPARSE), id="a sparse file"),
        pytest.param(
            header(pax={**SPARSE, "GNU.sparse.realsize": str(1 << 60)}) + b"x" * 512, id="one of another kind"
        ),
        pytest.param(header(pax={"GNU.sparse.map": "0,x"}), id="a map of one that is none"),
        pytest.param(b"no tar" * 1000, id="no tar"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_bytes_that_nobody_wrote_in_good_faith_are_refused(plain):
    with pytest.raises(BaseImageError, match="cannot be read") as caught:
        files(plain)
    assert "xgbpatch build" in caught.value.next_step


def test_variables_without_end_are_not_tried_in_pairs():
    digest = f"sha256:{'a' * 64}"
    labels = dict.fromkeys((provenance.BASE_DIGEST, provenance.SPEC_DIGEST, provenance.PATCH_DIGEST), digest)
    labels |= {provenance.BASE_NAME: "registry.example/base:1", provenance.FILES_DIGEST: digest}
    document = {"config": {"Env": [f"A{number}=1" for number in range(20_000)], "Labels": labels}}
    place = ImageReference.parse(f"registry.example/image@{digest}")
    image = RemoteImage(place, Manifest(b"{}", DOCKER_MANIFEST), document)
    with pytest.raises(ContractError, match="variables"):
        ownership._environment(OwnedImage(image, image, provenance.read(labels)))


@pytest.mark.parametrize("name", ["opt/xgbpatch/\udcff", "opt/xgbpatch/../../etc/passwd", "etc/passwd"])
def test_a_file_that_we_did_not_write_is_refused(name):
    with pytest.raises(ContractError, match="did not put there"):
        files(tar_of([(name, b"x")]))


def test_a_folder_that_we_did_not_make_is_refused():
    with pytest.raises(ContractError, match='holds "/etc/cron'):
        files(tar_of([("etc/cron.d/", None)]))
