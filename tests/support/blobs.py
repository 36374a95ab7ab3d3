"""What the tests of transfers share: blobs, and registries that hold them."""

from __future__ import annotations

import hashlib
import io
import random
from pathlib import Path

from xgbpatch.oci.manifest import DOCKER_LAYER, Descriptor
from xgbpatch.progress import Silent
from xgbpatch.reference import ImageReference
from xgbpatch.registry import copy
from xgbpatch.registry.blobs import HttpBlobs

MIB = 1 << 20
BIG = random.Random(4).randbytes(17 * MIB)  # three pieces
SMALL = random.Random(5).randbytes(1000)
BLOB = "/blobs/sha256:"
UPLOAD = "/blobs/uploads/"


def descriptor(content, media_type=DOCKER_LAYER):
    return Descriptor(f"sha256:{hashlib.sha256(content).hexdigest()}", media_type, len(content))


def blobs(client, place, name="a/b"):
    return HttpBlobs(ImageReference.parse(f"{place.host}/{name}"), client.session)


def store(client, place, *contents, name="a/b"):
    """Put the contents there; returns their descriptors."""
    for content in contents:
        copy.put(blobs(client, place, name), io.BytesIO(content), descriptor(content), Silent())
    return [descriptor(content) for content in contents]


def content(client, place, blob, name="a/b", offset=0):
    with blobs(client, place, name).opened(blob.digest, offset) as pieces:
        return b"".join(pieces)


def leftovers(folder: Path):
    """Uploads that the registry still keeps: of one that was given up it forgets when it started."""
    return list(folder.glob("**/_uploads/*/startedat"))
