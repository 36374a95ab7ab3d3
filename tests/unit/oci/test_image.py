"""The configuration and manifest of an image that was made without an engine."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgbpatch.errors import RegistryError
from xgbpatch.oci import image as oci_image
from xgbpatch.oci.image import ImageSummary, RemoteImage
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
    config_document = json.loads(oci_image.patched_config(image(DOCUMENT), **ADDITION))
    assert config_document["config"]["Env"] == [
        "PATH=/opt/xgbpatch/bin:/usr/bin:/bin", "EMPTY=", "LANG=C.UTF-8", "A=1=1", "B=2",
    ]  # fmt: skip


def test_labels_layers_moment_and_history_are_added_and_the_rest_stands():
    config_document = json.loads(oci_image.patched_config(image(DOCUMENT), **ADDITION))
    assert config_document["config"]["Labels"] == {
        "team": "base",
        "org.opencontainers.image.version": "22.04",
        "x": "y",
    }
    assert config_document["config"]["Entrypoint"] == ["/bin/entry"]
    assert config_document["rootfs"]["diff_ids"] == ["sha256:a", "sha256:b", "sha256:c"]
    assert config_document["created"] == "2026-11-01T00:00:00Z"
    assert [entry.get("created_by") for entry in config_document["history"]] == ["a", "b", "xgbpatch"]
    assert "container_config" not in config_document


def test_a_base_without_a_history_gets_none():
    document = {key: value for key, value in DOCUMENT.items() if key != "history"}
    assert "history" not in json.loads(oci_image.patched_config(image(document), **ADDITION))


def test_the_manifest_of_an_oci_base_is_one_that_sagemaker_takes():
    content = oci_image.patched_config(image(DOCUMENT), **ADDITION)
    patched = oci_image.patched_manifest(image(DOCUMENT).manifest, content, [OURS])
    assert complaints(patched) == ()
    assert [layer.digest for layer in patched.layers] == [*(layer.digest for layer in LAYERS), OURS.digest]
    assert patched.config == Descriptor(digest_of(content), DOCKER_CONFIG, len(content))


def test_a_base_with_zstd_layers_is_refused():
    text = image(DOCUMENT).manifest.content.replace(b"tar+gzip", b"tar+zstd")
    with pytest.raises(RegistryError, match="zstd"):
        oci_image.patched_manifest(Manifest(text, OCI_MANIFEST), b"{}", [OURS])


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="=\0"), min_size=1, max_size=8)
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@given(st.dictionaries(NAMES, VALUES), st.dictionaries(NAMES, VALUES), st.dictionaries(NAMES, VALUES))
def test_whatever_base_and_patch_hold_the_promise_is_kept(variables, added, labels):
    document = {
        **DOCUMENT,
        "config": {"Env": [f"{name}={value}" for name, value in variables.items()], "Labels": labels},
    }
    base = image(document)
    addition = {"diff_ids": ["sha256:c"], "environment": added, "labels": {"io.xgbpatch.x": "y"}, "created": ""}
    content = oci_image.patched_config(base, **addition)
    patched = RemoteImage(base.reference, base.manifest, json.loads(content))
    assert list(patched.summary.differences(base.summary, added, addition["labels"])) == []
    assert set(patched.environment) == set(variables) | set(added)
    assert oci_image.patched_config(base, **addition) == content


BASE = {
    "architecture": "amd64",
    "os": "linux",
    "config": {
        "Env": ["LANG=C", "PATH=/bin"], "Labels": {"team": "x"}, "Cmd": ["serve"], "Hostname": "a", "Volumes": None,
    },
    "rootfs": {"diff_ids": ["sha256:a"]},
}  # fmt: skip
WHOLE = {
    "architecture": "amd64",
    "os": "linux",
    "variant": "",
    "config": {
        "Env": ["PATH=/bin", "LANG=C", "A=1"], "Labels": {"team": "x", "own": "y"}, "Cmd": ["serve"], "OnBuild": [],
    },
    "rootfs": {"diff_ids": ["sha256:a", "sha256:b"]},
}  # fmt: skip


def findings(document):
    summary, base = (ImageSummary.of_document(each) for each in (document, BASE))
    return list(summary.differences(base, {"A": "1"}, {"own": "y"}))


def test_what_was_asked_and_what_decides_nothing_is_no_finding():
    assert findings(WHOLE) == []


SECTIONS = {
    "variable gone": ({"Env": ["PATH=/bin", "A=1"]}, 'variable "LANG"'),
    "variable of another value": ({"Env": ["LANG=C", "PATH=/bin", "A=2"]}, 'variable "A"'),
    "variable more": ({"Env": [*WHOLE["config"]["Env"], "B=1"]}, 'variable "B"'),
    "variable twice": ({"Env": ["LANG=evil", *WHOLE["config"]["Env"]]}, 'setting "Env"'),
    "no variable": ({"Env": [*WHOLE["config"]["Env"], "B"]}, 'setting "Env"'),
    "label gone": ({"Labels": {"own": "y"}}, 'label "team"'),
    "label more": ({"Labels": {"team": "x", "own": "y", "b": "1"}}, 'label "b"'),
    "command": ({"Cmd": ["sh"]}, 'setting "Cmd"'),
    "entrypoint": ({"Entrypoint": ["sh"]}, 'setting "Entrypoint"'),
    "health check": ({"Healthcheck": {"Test": ["CMD", "x"]}}, 'setting "Healthcheck"'),
    "triggers": ({"OnBuild": ["RUN x"]}, 'setting "OnBuild"'),
    "user": ({"User": "nobody"}, 'setting "User"'),
    "a setting nobody knows yet": ({"Later": 1}, 'setting "Later"'),
    "a setting in other letters": ({"entrypoint": ["sh"]}, 'setting "entrypoint"'),
}


@pytest.mark.parametrize(("section", "says"), SECTIONS.values(), ids=SECTIONS)
def test_a_broken_promise_is_found(section, says):
    (finding,) = findings({**WHOLE, "config": {**WHOLE["config"], **section}})
    assert says in finding


def test_names_that_an_engine_takes_for_one_are_found():
    """Go decodes a configuration, and the last of such names holds, empty or not."""
    assert findings({**WHOLE, "Config": None})
    assert findings({**WHOLE, "config": {**WHOLE["config"], "cmd": None}})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"rootfs": {"diff_ids": ["sha256:b"]}}, "layers", id="layers"),
        pytest.param({"architecture": "arm64"}, 'setting "architecture"', id="architecture"),
        pytest.param({"os": "windows"}, 'setting "os"', id="system"),
    ],
)
def test_a_broken_promise_outside_the_section_is_found(change, says):
    (finding,) = findings({**WHOLE, **change})
    assert says in finding
