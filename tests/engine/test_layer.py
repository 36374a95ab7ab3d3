"""The engine unpacks the layer of a patch to the digest that its image's configuration gives it."""

from __future__ import annotations

import secrets

import docker
import pytest

from xgbpatch.build import layer
from xgbpatch.patch.compose import Patch, PatchFile


@pytest.mark.parametrize("size", [100, layer.STORED_BYTES + 1], ids=["stored", "compressed"])
def test_the_engine_unpacks_the_layer_to_its_diff_id(size: int):
    client = docker.APIClient()
    name = f"xgbpatch-test/layer-{secrets.token_hex(4)}:1"
    patch = Patch((PatchFile("/opt/xgbpatch/lib/a", b"x" * size),), {})
    with layer.packed_layer(patch) as blob, blob.opened() as stream:
        client.import_image_from_data(stream.read(), *name.split(":"))
        try:
            assert client.inspect_image(name)["RootFS"]["Layers"] == [blob.diff_id]
        finally:
            client.remove_image(name)
            client.close()
