"""A published image on a new base, without an engine: byte for byte what a build makes, or refused with the clause."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import pytest

from support.handmade import HandImage, put, tar
from support.handmade_bases import PACKAGE, stand_in_modules
from support.rebasing import HOOKED, NEW, OLD
from xgbpatch import provenance
from xgbpatch.errors import BaseImageError, ConfigurationError, DriftError, PackageError, RegistryError
from xgbpatch.oci.manifest import digest_of
from xgbpatch.progress import Silent
from xgbpatch.reference import ImageReference
from xgbpatch.registry import copy
from xgbpatch.registry.blobs import Traffic
from xgbpatch.registry.client import Registry, load_image


@pytest.mark.parametrize("moment", [None, datetime(2026, 11, 21, tzinfo=timezone.utc)], ids=["of the base", "epoch"])
def test_the_result_is_byte_for_byte_a_build_on_the_new_base(repositories, everything, moment):
    repositories.services = replace(repositories.services, created=moment)
    image = repositories.build(repositories.publish(OLD), **everything)
    base = repositories.publish(NEW)
    rebased = repositories.rebase(image)
    assert (rebased.base, rebased.up_to_date, rebased.accepted) == (base, False, ())
    built = repositories.build(
        base, place=replace(repositories.images, repository=f"{repositories.images.repository}2"), **everything
    )
    assert (rebased.reference.digest, rebased.reference.tag) == (built.digest, built.tag)
    rebased_image = load_image(repositories.services.registry, rebased.reference)
    assert rebased_image.environment["PATH"] == "/opt/xgbpatch/bin:/opt/python/bin:/usr/local/bin:/usr/bin:/bin"
    assert rebased_image.environment["PYTHONPATH"] == "/opt/ml/code:/opt/xgbpatch/lib:/opt/xgbpatch/user"
    assert rebased_image.environment["XGBPATCH_BASE"] == str(base)
    assert (rebased_image.environment["LANG"], rebased_image.environment["LD_LIBRARY_PATH"]) == ("C.UTF-8", "/mine"), (
        "the user's own"
    )
    assert (rebased_image.labels["month"], rebased_image.provenance.base_digest) == ("november", base.digest)


def test_only_the_configuration_is_sent_and_the_bases_new_layers_are_mounted(repositories):
    image = repositories.build(repositories.publish(OLD))
    repositories.publish(replace(OLD, patches="-fixed"))
    rebased = repositories.rebase(image)
    config = load_image(repositories.services.registry, rebased.reference).manifest.config
    assert rebased.traffic == Traffic(sent=config.size, mounted=1, present=2)


def test_an_image_that_stands_on_the_new_base_already_is_left_alone(repositories, loopback):
    image = repositories.build(repositories.publish(OLD))
    repositories.publish(NEW)
    first = repositories.rebase(image)
    writes = loopback.writes()
    again = repositories.rebase(image)
    assert (again.reference, again.up_to_date) == (first.reference, True)
    assert loopback.writes() == writes


def test_the_base_that_the_image_stands_on_already_leaves_it_as_it_is(repositories, loopback):
    image = repositories.build(repositories.publish(OLD))
    writes = loopback.writes()
    rebased = repositories.rebase(image)
    assert (rebased.reference, rebased.up_to_date) == (image, True)
    assert loopback.writes() == writes


def test_a_digest_alone_is_one_of_the_old_bases_repository(repositories):
    image = repositories.build(repositories.publish(OLD))
    base = repositories.publish(NEW)
    repositories.publish(replace(NEW, patches="-newest"))
    assert repositories.rebase(image, to=ImageReference("", "", digest=base.digest)).base.digest == base.digest


def test_a_base_of_another_name_is_remembered_by_it(repositories):
    image = repositories.build(repositories.publish(OLD))
    mirrored = put(repositories.services, repositories.base.with_tag("mirrored"), NEW.image)
    origin = load_image(
        repositories.services.registry, repositories.rebase(image, to=mirrored.with_tag("mirrored")).reference
    ).provenance
    assert origin.base_name == str(repositories.base.with_tag("mirrored"))


def test_a_tag_that_holds_another_image_is_refused(repositories):
    image = repositories.build(repositories.publish(OLD))
    repositories.publish(NEW)
    put(repositories.services, repositories.images.with_tag("taken"), HandImage([tar({"a": b"b"})]))
    with pytest.raises(RegistryError, match="already holds another image"):
        repositories.rebase(image, tag="taken")


def test_an_image_named_by_its_alias_gets_the_tag_that_follows_from_its_version_tag(repositories):
    old = repositories.publish(OLD)
    image = repositories.build(old)
    other = repositories.build(old, features=())
    repositories.services.registry.put_manifest(
        image.with_tag(f"a-{image.tag}"), repositories.services.registry.manifest(other)
    )
    prod = repositories.services.registry.put_manifest(
        image.with_tag("prod"), repositories.services.registry.manifest(image)
    )
    new = repositories.publish(NEW)
    assert repositories.rebase(prod).reference.tag == image.tag.replace(old.digest[7:19], new.digest[7:19])


def test_an_image_of_which_no_tag_names_its_base_needs_a_new_one(repositories):
    image = repositories.build(repositories.publish(OLD))
    repositories.publish(NEW)
    prod = replace(image, repository=f"{image.repository}2", tag="prod")
    blobs = load_image(repositories.services.registry, image)
    places = repositories.services.blobs_of(image), repositories.services.blobs_of(prod)
    copy.copy(*places, [*blobs.layers, blobs.manifest.config], Silent())
    repositories.services.registry.put_manifest(prod.with_tag("prod"), blobs.manifest)
    with pytest.raises(ConfigurationError, match=r"no tag of .* names its base"):
        repositories.rebase(prod)
    assert repositories.rebase(prod, tag="3.2-0-november").reference.tag == "3.2-0-november"


CLAUSES = {
    "another xgboost": (replace(NEW, distributions={"xgboost": "3.3.0", "numpy": "2.1.0"}), 'xgboost "3.3"'),
    "another Python": (replace(NEW, python="3.13.1"), 'Python "3.13"'),
    "another prefix": (replace(NEW, prefix="opt/venv", environment={}), "/opt/venv/bin/python3.12"),
    "a hook changed": (HOOKED, "serve_utils:predict"),
}


REPLACED = NEW.with_module(f"{PACKAGE}/data_utils.py", "import", "import  os\nimport")


@pytest.mark.parametrize(("base", "words"), CLAUSES.values(), ids=CLAUSES)
def test_a_base_that_breaks_a_clause_is_refused_by_its_name(repositories, base, words):
    image = repositories.build(repositories.publish(OLD))
    repositories.publish(base)
    with pytest.raises(DriftError) as refused:
        repositories.rebase(image)
    assert words in refused.value.message
    assert len(repositories.services.registry.tags(repositories.images)) == 1
    assert any(words in line for line in repositories.rebase(image, accept_drift=True).accepted)


def test_a_replaced_module_that_changed_is_refused(repositories, everything):
    image = repositories.build(repositories.publish(OLD), **everything)
    repositories.publish(REPLACED)
    with pytest.raises(DriftError, match=f'"{PACKAGE}.data_utils", which the image replaces, has changed'):
        repositories.rebase(image)


@pytest.mark.parametrize("hooks", ["", "xgboost:minor=3.2"], ids=["no hooks", "not the replaced module"])
def test_where_the_label_does_not_tell_the_old_base_does(repositories, everything, hooks):
    image = repositories.build(repositories.publish(OLD), **everything)
    image = repositories.forge(image, lambda config: config["config"]["Labels"].update({provenance.HOOKS: hooks}))
    repositories.publish(REPLACED)
    with pytest.raises(DriftError, match="which the image replaces, has changed"):
        repositories.rebase(image)


def test_the_old_base_is_not_read_where_its_label_tells_enough(repositories, loopback, tmp_path):
    image = repositories.build(repositories.publish(OLD))
    repositories.publish(NEW)
    repositories.services = replace(repositories.services, cache=tmp_path)
    before = len(loopback.log.read_text())
    repositories.rebase(image)
    log = loopback.log.read_text()[before:]
    old_layer, new_layer = (digest_of(one.image.layers[0].blob) for one in (OLD, NEW))
    assert f"GET /v2/{repositories.base.repository}/blobs/{new_layer}" in log
    assert f"GET /v2/{repositories.base.repository}/blobs/{old_layer}" not in log


def test_a_change_that_no_hook_touches_is_none(repositories):
    image = repositories.build(repositories.publish(OLD))
    repositories.publish(
        replace(NEW, modules={f"{PACKAGE}/encoder.py": stand_in_modules()[f"{PACKAGE}/encoder.py"] + "\nA = 1\n"})
    )
    assert repositories.rebase(image).accepted == ()


@pytest.mark.parametrize(
    ("base", "words"),
    [
        (replace(NEW, distributions={"xgboost": "3.2.0", "numpy": "2.1.1"}), "numpy==2.1.0"),
        (replace(NEW, distributions={"xgboost": "3.2.0"}), "numpy==2.1.0"),
        (replace(NEW, distributions={"xgboost": "3.2.0", "numpy": "2.1.0", "tabulate": "0.9.0"}), "tabulate is new"),
        (replace(NEW, glibc="2.31"), "glibc 2.36"),
    ],
    ids=["another version", "gone", "now the base's own", "older glibc"],
)
def test_packages_that_were_resolved_beside_other_versions_ask_for_a_rebuild(repositories, base, words):
    image = repositories.build(repositories.publish(OLD))

    def packaged(config):
        config["config"]["Labels"] |= {
            provenance.PACKAGES: "tabulate==0.9.0",
            provenance.BASE_PACKAGES: "numpy==2.1.0,xgboost==3.2.0",
            provenance.PYTHON: "3.12.8 x86_64 glibc-2.36",
        }

    image = repositories.forge(image, packaged)
    repositories.publish(base)
    with pytest.raises(PackageError) as refused:
        repositories.rebase(image, accept_drift=True)
    assert words in refused.value.message
    assert "Rebuild" in refused.value.next_step
    repositories.publish(NEW)
    assert not repositories.rebase(image).up_to_date


def test_an_image_whose_base_is_gone_is_refused(repositories):
    base = repositories.publish(OLD)
    image = repositories.build(base)
    repositories.publish(NEW)
    repositories.services.registry.delete(base)
    with pytest.raises(BaseImageError, match="is gone"):
        repositories.rebase(image)


def test_a_rebase_that_is_cut_off_leaves_no_tag_and_goes_on_from_there(repositories):
    image = repositories.build(repositories.publish(OLD))
    repositories.publish(NEW)

    class CutOff(Registry):
        def put_manifest(self, reference, manifest):
            raise RegistryError("the registry went away")

    patient = repositories.services
    repositories.services = replace(patient, registry=CutOff(lambda reference: None))
    with pytest.raises(RegistryError, match="went away"):
        repositories.rebase(image)
    repositories.services = patient
    assert repositories.services.registry.tags(repositories.images) == (image.tag,)
    assert repositories.rebase(image).traffic.sent == 0
