"""Labels and configurations come from a registry, where anybody may have written them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgbpatch import provenance
from xgbpatch.build import ownership
from xgbpatch.errors import ConfigurationError, RegistryError
from xgbpatch.oci import document as oci_document
from xgbpatch.oci.image import CONFIGURATION, RemoteImage
from xgbpatch.oci.manifest import DOCKER_MANIFEST, Manifest
from xgbpatch.reference import ImageReference
from xgbpatch.upkeep import plan

DIGEST = f"sha256:{'a' * 64}"
OURS = {
    provenance.BASE_NAME: "registry.example/base:1", provenance.BASE_DIGEST: DIGEST, provenance.SPEC_DIGEST: DIGEST,
    provenance.PATCH_DIGEST: DIGEST, provenance.FILES_DIGEST: DIGEST,
}  # fmt: skip
BAD_BASES = {
    "no name": {provenance.BASE_NAME: ""},
    "no digest": {provenance.BASE_DIGEST: ""},
    "neither": {provenance.BASE_NAME: "", provenance.BASE_DIGEST: ""},
    "no reference": {provenance.BASE_NAME: "Not A Reference"},
    "no digest of sha256": {provenance.BASE_DIGEST: "sha256:short"},
    "a name with a digest": {provenance.BASE_NAME: f"registry.example/base@{DIGEST}"},
    "of a local engine": {provenance.BASE_NAME: "base:1"},
}


def image(labels):
    manifest = Manifest(json.dumps({"layers": []}).encode(), DOCKER_MANIFEST)
    return RemoteImage(
        ImageReference.parse(f"registry.example/image@{DIGEST}"), manifest, {"config": {"Labels": labels}}
    )


def test_the_base_is_pinned():
    origin = provenance.read(OURS)
    assert origin is not None
    assert str(origin.base) == f"registry.example/base:1@{DIGEST}"


@pytest.mark.parametrize("labels", BAD_BASES.values(), ids=BAD_BASES)
def test_labels_that_name_no_base_are_a_sentence(labels):
    bad = image({**OURS, **labels})
    assert bad.provenance is not None
    assert bad.provenance.base is None
    with pytest.raises(ConfigurationError, match="name no base in a registry") as refused:
        ownership.verify_ownership(None, bad)
    assert "registry.example/image" in refused.value.message
    assert "xgbpatch build" in refused.value.next_step


@given(
    labels=st.fixed_dictionaries(
        {}, optional={name: st.text(max_size=40) for name in provenance.write(provenance.read(OURS))}
    )
)
def test_no_label_is_ever_a_traceback(labels):
    origin = provenance.read({**OURS, **labels})
    assert origin is not None
    assert origin.base is None or origin.base.digest
    assert provenance.read(provenance.write(origin)) == origin
    plan.labelled_facts(origin)


def test_packages_that_are_none_never_reach_the_resolver():
    labels = {
        **OURS,
        provenance.PACKAGES: "shap==0.46.0,evil\n--index-url=http://evil,x==1 --y",
        provenance.BASE_PACKAGES: "numpy==2.1.0,torch==2.4.0+cpu,a==1\n--index-url=http://evil",
        provenance.PYTHON: "3.12.8 x86_64 glibc-2.36",
    }
    origin = provenance.read(labels)
    assert origin is not None
    assert origin.packages == ("shap==0.46.0",)
    assert origin.base_packages == ("numpy==2.1.0", "torch==2.4.0+cpu")
    assert plan.labelled_facts(origin) is not None


@pytest.mark.parametrize(
    "python", ["three x86_64 glibc-2.36", "3.12 x86_64 glibc-2.36", "3.12.8 x86_64 glibc-new", "3.12.8"]
)
def test_a_python_of_another_form_is_none(python):
    origin = provenance.read({**OURS, provenance.PYTHON: python, provenance.BASE_PACKAGES: "numpy==2.1.0"})
    assert origin is not None
    assert plan.labelled_facts(origin) is None


BAD_CONFIGURATIONS = {
    "section": {"config": "text"},
    "labels": {"config": {"Labels": ["a"]}},
    "a label": {"config": {"Labels": {"a": 5}}},
    "environment": {"config": {"Env": "PATH=/bin"}},
    "a variable": {"config": {"Env": [None]}},
    "rootfs": {"rootfs": [1]},
    "diff IDs": {"rootfs": {"diff_ids": [1]}},
}


@pytest.mark.parametrize("document", BAD_CONFIGURATIONS.values(), ids=BAD_CONFIGURATIONS)
def test_a_configuration_that_is_no_images_is_refused(document):
    with pytest.raises(RegistryError, match="the configuration is not of its kind"):
        configuration(document)


@pytest.mark.parametrize("document", [{}, {"config": None, "rootfs": None}, {"config": {"Env": None, "Labels": None}}])
def test_a_configuration_may_leave_out_everything(document):
    stranger = RemoteImage(image({}).reference, image({}).manifest, configuration(document))
    assert (stranger.labels, stranger.environment, stranger.diff_ids, stranger.provenance) == ({}, {}, (), None)


def configuration(document):
    return oci_document.parse(json.dumps(document).encode(), "the configuration", CONFIGURATION)


def test_a_configuration_with_a_section_twice_is_refused():
    """An engine, which Go decodes for, puts the two together; whoever takes the last one would see another image."""
    twice = b'{"config": {"Entrypoint": ["evil"]}, "config": {"Labels": {}}}'
    with pytest.raises(RegistryError, match="a name stands twice"):
        oci_document.parse(twice, "the configuration", CONFIGURATION)
