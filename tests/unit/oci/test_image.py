"""The configuration and manifest of an image that was made without an engine."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgbpatch.build.verify import ConfigSummary, config_findings
from xgbpatch.errors import RegistryError
from xgbpatch.oci import image as oci_image
from xgbpatch.oci.image import RemoteImage
from xgbpatch.oci.manifest import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    complaints,
    digest_of,
)
from xgbpatch.reference import ImageReference

LAYERS = [Descriptor(f"sha256:{number:064x}", OCI_LAYER, 100 + number) for number in range(3)]
OURS = Descriptor(f"sha256:{9:064x}", DOCKER_LAYER, 12)
DOCUMENT = {
    "architecture": "amd64",
    "os": "linux",
    "created": "2026-10-01T02:03:04.567Z",
    "container_config": {"Cmd": ["what the builder ran last"]},
    "config": {
        "Env": ["PATH=/usr/bin:/bin", "EMPTY=", "LANG=C.UTF-8"],
        "Labels": {"team": "base", "org.opencontainers.image.version": "22.04"},
        "Entrypoint": ["/bin/entry"],
    },
    "history": [{"created_by": "a"}, {"created_by": "b", "empty_layer": True}],
    "rootfs": {"type": "layers", "diff_ids": ["sha256:a", "sha256:b"]},
}
ADDITION = {
    "diff_ids": ["sha256:c"],
    "environment": {"PATH": "/opt/xgbpatch/bin:/usr/bin:/bin", "B": "2", "A": "1=1"},
    "labels": {"x": "y"},
    "created": "2026-11-01T00:00:00Z",
}


def image(document, media_type=OCI_MANIFEST):
    entries = [{"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size} for layer in LAYERS]
    body = {
        "schemaVersion": 2, "mediaType": media_type, "layers": entries,
        "config": {"mediaType": OCI_CONFIG, "digest": f"sha256:{7:064x}", "size": 1},
    }  # fmt: skip
    return RemoteImage(ImageReference("h.io", "r"), Manifest(json.dumps(body).encode(), media_type), document)


def test_variables_change_in_place_and_new_ones_come_behind_in_order():
    made = json.loads(oci_image.patched_config(image(DOCUMENT), **ADDITION))
    assert made["config"]["Env"] == [
        "PATH=/opt/xgbpatch/bin:/usr/bin:/bin", "EMPTY=", "LANG=C.UTF-8", "A=1=1", "B=2",
    ]  # fmt: skip


def test_labels_layers_moment_and_history_are_added_and_the_rest_stands():
    made = json.loads(oci_image.patched_config(image(DOCUMENT), **ADDITION))
    assert made["config"]["Labels"] == {"team": "base", "org.opencontainers.image.version": "22.04", "x": "y"}
    assert made["config"]["Entrypoint"] == ["/bin/entry"]
    assert made["rootfs"]["diff_ids"] == ["sha256:a", "sha256:b", "sha256:c"]
    assert made["created"] == "2026-11-01T00:00:00Z"
    assert [entry.get("created_by") for entry in made["history"]] == ["a", "b", "xgbpatch"]
    assert "container_config" not in made


def test_a_base_without_a_history_gets_none():
    document = {key: value for key, value in DOCUMENT.items() if key != "history"}
    assert "history" not in json.loads(oci_image.patched_config(image(document), **ADDITION))


def test_the_manifest_of_an_oci_base_is_one_that_sagemaker_takes():
    content = oci_image.patched_config(image(DOCUMENT), **ADDITION)
    made = oci_image.patched_manifest(image(DOCUMENT).manifest, content, [OURS])
    assert complaints(made) == ()
    assert [layer.digest for layer in made.layers] == [*(layer.digest for layer in LAYERS), OURS.digest]
    assert made.config == Descriptor(digest_of(content), DOCKER_CONFIG, len(content))


def test_a_base_with_zstd_layers_is_refused():
    text = image(DOCUMENT).manifest.content.replace(b"tar+gzip", b"tar+zstd")
    with pytest.raises(RegistryError, match="zstd"):
        oci_image.patched_manifest(Manifest(text, OCI_MANIFEST), b"{}", [OURS])


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="=\0"), min_size=1, max_size=8)
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@given(st.dictionaries(NAMES, VALUES), st.dictionaries(NAMES, VALUES), st.dictionaries(NAMES, VALUES))
def test_whatever_base_and_patch_hold_the_promise_is_kept(held, added, labels):
    document = {**DOCUMENT, "config": {"Env": [f"{name}={value}" for name, value in held.items()], "Labels": labels}}
    base = image(document)
    addition = {"diff_ids": ["sha256:c"], "environment": added, "labels": {"io.xgbpatch.x": "y"}, "created": ""}
    content = oci_image.patched_config(base, **addition)
    made = RemoteImage(base.reference, base.manifest, json.loads(content))
    seen = [ConfigSummary(one.diff_ids, one.environment, one.labels) for one in (base, made)]
    assert list(config_findings(*seen, added)) == []
    assert set(made.environment) == set(held) | set(added)
    assert oci_image.patched_config(base, **addition) == content


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"layers": ("sha256:b",)}, "layers", id="layers"),
        pytest.param({"environment": {"A": "1"}}, 'variable "LANG"', id="variable-gone"),
        pytest.param({"environment": {"A": "2", "LANG": "C"}}, 'variable "A"', id="variable-asked-and-other"),
        pytest.param({"labels": {}}, 'label "team"', id="label-gone"),
    ],
)
def test_a_broken_promise_is_found(change, says):
    whole = {"layers": ("sha256:a", "sha256:b"), "environment": {"LANG": "C", "A": "1"}, "labels": {"team": "x"}}
    base = ConfigSummary(("sha256:a",), {"LANG": "C"}, {"team": "x", "org.opencontainers.image.version": "1"})
    assert list(config_findings(base, ConfigSummary(**whole), {"A": "1"})) == []
    (found,) = config_findings(base, ConfigSummary(**{**whole, **change}), {"A": "1"})
    assert says in found
