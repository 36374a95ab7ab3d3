"""`plan`: a published image is behind where its base, its spec or its packages have changed. Real registries."""

import datetime
from dataclasses import replace

import pytest

from support import handmade
from support.handmade_bases import PACKAGE, SERVE_UTILS, stand_in_modules
from support.package_index import index
from support.planning import FIXED, HOOKED, OLD, PARAMETERS, TODAY
from xgbpatch import provenance
from xgbpatch.build.definition import asked_digest
from xgbpatch.cache import sha256_of
from xgbpatch.errors import RegistryError
from xgbpatch.publish import aliases
from xgbpatch.reference import ImageReference
from xgbpatch.registry.client import load_image
from xgbpatch.spec import Replacement, UserFile
from xgbpatch.upkeep import plan
from xgbpatch.upkeep.plan import Cause, State

BODY = ("    if model_format == PKL_FORMAT:\n", "    if model_format != XGB_FORMAT:\n")
NOT_HOOKED = OLD.with_module(SERVE_UTILS, "def _get_labels(objective,", "def _get_labels(objective, *,")
NEXT_XGBOOST = {**OLD.distributions, "xgboost": "3.3.0"}


def causes(plan):
    return [reason.cause for reason in plan.reasons]


def test_an_image_that_nobody_published_is_to_be_built(image_repository):
    plan = image_repository.plan()
    assert (plan.state, causes(plan), plan.published) == (State.REBUILD, [Cause.UNPUBLISHED], None)


def test_what_was_just_built_is_current(image_repository):
    reference = image_repository.publish()
    plan = image_repository.plan()
    assert plan.reasons == ()
    assert plan.state is State.CURRENT
    assert plan.published.reference.digest == reference.digest


def test_looking_at_a_current_image_reads_its_own_layer_once_and_costs_a_handful_of_requests(image_repository):
    image = image_repository.publish()
    own, *layers = reversed(load_image(image_repository.services.registry, image).layers)
    forget(image_repository)
    for most, reads in ((8, 1), (5, 0)):
        lines = len(image_repository.loopback.log.read_text().splitlines())
        image_repository.plan()
        log_lines = image_repository.loopback.log.read_text().splitlines()[lines:]
        calls = [line for line in log_lines if '"GET /v2/' in line or '"HEAD /v2/' in line]
        assert len(calls) <= most, calls
        assert sum(own.digest in call for call in calls) == reads
        assert not any(layer.digest in call for call in calls for layer in layers)


@pytest.mark.parametrize(
    "base",
    [FIXED, NOT_HOOKED],
    ids=["elsewhere", "in a function that is not hooked"],
)
def test_a_base_that_moved_asks_for_a_rebuild(image_repository, base):
    old = image_repository.publish()
    new = image_repository.move(base)
    plan = image_repository.plan()
    assert (plan.state, causes(plan)) == (State.REBUILD, [Cause.BASE])
    before = load_image(image_repository.services.registry, old).provenance.base_digest
    assert f"{before} → {new.digest}" in plan.reasons[0].words
    assert plan.base_alone
    assert plan.base.reference.digest == new.digest
    image_repository.publish()
    assert image_repository.plan().state is State.CURRENT


@pytest.mark.parametrize(("old", "new"), [PARAMETERS, BODY], ids=["parameters", "body"])
def test_a_base_that_changed_a_hooked_function_needs_a_person_and_the_function_is_named(image_repository, old, new):
    image_repository.publish()
    image_repository.move(OLD.with_module(SERVE_UTILS, old, new))
    plan = image_repository.plan()
    assert (plan.state, causes(plan)) == (State.DRIFTED, [Cause.BASE, Cause.DRIFT])
    drifted = plan.reasons[1]
    assert '"sagemaker_xgboost_container.algorithm_mode.serve_utils:predict"' in drifted.words
    assert f"-{old.splitlines()[0]}" in drifted.difference
    assert f"+{new.splitlines()[0]}" in drifted.difference


def test_what_drifted_is_named_where_the_old_base_is_gone(image_repository):
    image_repository.publish()
    old = image_repository.services.registry.head(image_repository.spec.base_image)
    image_repository.move(HOOKED)
    assert image_repository.services.registry.delete(image_repository.spec.base_image.with_digest(old.digest))
    forget(image_repository)
    plan = image_repository.plan()
    assert plan.state is State.DRIFTED
    assert "serve_utils:predict" in plan.reasons[1].words
    assert plan.reasons[1].difference == ""


def forget(image_repository):
    image_repository.services.cache.rename(image_repository.services.cache.with_name("away"))


def test_another_xgboost_under_the_same_tag_is_drift(image_repository):
    image_repository.publish()
    image_repository.move(replace(OLD, distributions=NEXT_XGBOOST))
    plan = image_repository.plan()
    assert plan.state is State.DRIFTED
    assert '"3.3"' in plan.reasons[1].words


def test_a_replaced_module_that_the_base_changed_is_drift(image_repository, tmp_path):
    module, path = f"{PACKAGE}.encoder", f"{PACKAGE}/encoder.py"
    source = tmp_path / "encoder.py"
    source.write_text(stand_in_modules()[path])
    image_repository.spec = replace(
        image_repository.spec, replacements=(Replacement(module, source, sha256_of(source)),)
    )
    image_repository.publish()
    assert image_repository.plan().state is State.CURRENT
    image_repository.move(OLD.with_module(path, "_SNIFFED_CHARACTERS = 512", "_SNIFFED_CHARACTERS = 256"))
    words = [reason.words for reason in image_repository.plan().reasons]
    assert f'"{module}", which the image replaces, has changed' in words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"features": ("shap", "training")}, 'feature "training" is new'),
        ({"features": ()}, 'feature "shap" is gone'),
        ({"fixes": ("libsvm-skew",)}, 'fix "libsvm-skew" is new'),
        ({"environment": (("OMP_NUM_THREADS", "4"),)}, 'variable "OMP_NUM_THREADS" has another value'),
        ({"packages": ("category-encoders>=2",)}, 'package "category-encoders>=2" is new'),
    ],
    ids=["feature", "no feature", "fix", "variable", "package"],
)
def test_a_spec_that_changed_asks_for_a_rebuild_and_says_what_changed(image_repository, change, words):
    image_repository.publish()
    plan = image_repository.plan(replace(image_repository.spec, **change))
    assert (plan.state, [reason.words for reason in plan.reasons]) == (State.REBUILD, [words])
    assert not plan.base_alone


def test_a_file_of_the_users_that_changed_asks_for_a_rebuild(image_repository, tmp_path):
    file = tmp_path / "features.py"
    file.write_text("x = 1")
    image_repository.spec = replace(image_repository.spec, files=(UserFile(file, "features.py"),))
    image_repository.publish()
    assert image_repository.plan().state is State.CURRENT
    file.write_text("x = 2")
    assert causes(image_repository.plan()) == [Cause.SPEC]


def test_a_spec_that_moves_on_to_another_version_does_not_count_as_drift(image_repository, loopback):
    image_repository.publish()
    other = loopback.reference(f"{image_repository.spec.base_image.repository}:3.3-0")
    handmade.put(image_repository.services, other, replace(HOOKED, distributions=NEXT_XGBOOST).image)
    plan = image_repository.plan(replace(image_repository.spec, version="3.3-0", base_image=other))
    assert plan.state is State.REBUILD
    assert 'version "3.2-0" → "3.3-0"' in [reason.words for reason in plan.reasons]


def test_an_older_overlay_asks_for_a_rebuild(image_repository):
    image_repository.relabel(
        image_repository.publish(), **{provenance.OVERLAY_DIGEST: "sha256:older", provenance.TOOL_VERSION: "0.0.9"}
    )
    plan = image_repository.plan()
    assert causes(plan) == [Cause.OVERLAY]
    assert "0.0.9" in plan.reasons[0].words


def test_an_image_of_a_newer_xgbpatch_is_left_alone_with_a_warning(image_repository):
    image_repository.relabel(
        image_repository.publish(), **{provenance.OVERLAY_DIGEST: "sha256:newer", provenance.TOOL_VERSION: "99.0"}
    )
    plan = image_repository.plan()
    assert plan.state is State.CURRENT
    assert ["99.0" in warning for warning in plan.warnings] == [True]


@pytest.mark.parametrize(("published", "warned"), [("1.5-1", True), ("3.2-0", False)])
def test_a_move_that_leaves_models_behind_is_a_warning(image_repository, published, warned):
    image_repository.publish(replace(image_repository.spec, version=published))
    warnings = image_repository.plan().warnings
    sentence = "does not load binary models and pickles of xgboost 1.2.0 to 1.5.2"
    assert ["convert-model" in warning and sentence in warning for warning in warnings] == [True] * warned


def test_an_image_of_an_xgbpatch_that_kept_less_is_to_be_rebuilt(image_repository):
    empty = dict.fromkeys((provenance.IMAGE, provenance.ASKED_DIGEST, provenance.HOOKS, provenance.FILES_DIGEST), "")
    image_repository.relabel(image_repository.publish(), **empty)
    image_repository.move(HOOKED)
    plan = image_repository.plan()
    assert plan.state is State.REBUILD
    assert Cause.LABELS in causes(plan)
    assert not plan.base_alone


def test_an_alias_that_does_not_name_the_newest_image_asks_for_a_rebuild_until_it_was_rolled_back(image_repository):
    spec = replace(image_repository.spec, aliases=("prod",))
    first = image_repository.publish()
    aliases.promote_alias(image_repository.services, first, "prod")
    assert image_repository.plan(spec).reasons == ()
    image_repository.move(FIXED)
    second = image_repository.publish()
    plan = image_repository.plan(spec)
    assert causes(plan) == [Cause.ALIAS]
    assert plan.published.reference.digest == second.digest
    aliases.promote_alias(image_repository.services, second, "prod")
    assert image_repository.plan(spec).reasons == ()
    aliases.rollback_alias(image_repository.services, image_repository.place, "prod")
    plan = image_repository.plan(spec)
    assert plan.reasons == ()
    assert any('"prod" was rolled back' in warning for warning in plan.warnings)


@pytest.mark.parametrize(
    ("today", "part"),
    [
        (datetime.date(2027, 2, 11), None),
        (datetime.date(2027, 2, 12), "90 more days"),
        (datetime.date(2027, 5, 13), "0 more days"),
        (datetime.date(2027, 5, 14), "has not patched version 3.2-0 since 2027-05-13"),
    ],
    ids=str,
)
def test_the_end_of_patches_is_told_from_90_days_before(image_repository, today, part):
    image_repository.publish()
    plan = image_repository.plan(today=today)
    assert plan.state is State.CURRENT
    assert plan.info.end_of_patch == datetime.date(2027, 5, 13)
    assert [part in warning for warning in plan.warnings] == ([True] if part else [])


def test_a_registry_that_is_gone_is_an_error(image_repository):
    with pytest.raises(RegistryError):
        plan.plan(image_repository.services, image_repository.spec, ImageReference.parse("127.0.0.1:1/x"), TODAY)


PACKAGED = {
    provenance.PACKAGES: "six==1.16.0",
    provenance.PYTHON: "3.12.8 x86_64 glibc-2.36",
    provenance.BASE_PACKAGES: "xgboost==3.2.0",
}


def test_packages_are_resolved_anew_from_the_labels_and_a_newer_one_is_named(image_repository, tmp_path, monkeypatch):
    spec = replace(image_repository.spec, packages=("six>=1.16",))
    image_repository.relabel(image_repository.publish(), **PACKAGED, **{provenance.ASKED_DIGEST: asked_digest(spec)})
    with index(tmp_path / "index", "six", "1.17.0") as address:
        monkeypatch.setenv("UV_DEFAULT_INDEX", address)
        monkeypatch.setenv("UV_NO_CACHE", "1")
        plan = image_repository.plan(spec)
    assert [(reason.cause, reason.words) for reason in plan.reasons] == [(Cause.PACKAGES, "six 1.16.0 → 1.17.0")]
    assert image_repository.plan(spec, packages=False).reasons == ()


def test_an_index_that_does_not_answer_is_a_warning(image_repository, monkeypatch):
    spec = replace(image_repository.spec, packages=("six>=1.16",))
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    image_repository.relabel(image_repository.publish(), **PACKAGED, **{provenance.ASKED_DIGEST: asked_digest(spec)})
    plan = image_repository.plan(spec)
    assert plan.state is State.CURRENT
    assert [warning.startswith("whether a package is newer") for warning in plan.warnings] == [True]
