"""The shipped table against AWS's own. Needs the extra [sagemaker]; fails, never skips, without it."""

from __future__ import annotations

import functools
import subprocess
import sys

import pytest

from xgbpatch import catalogue
from xgbpatch.catalogue import REFUSED, SCOPES, SdkTable, ShippedTable
from xgbpatch.spec import Architecture

IMAGES = [  # of the shipped table, which has every version of the SDK's: see below
    pytest.param(scope, version, id=f"{scope}-{version}")
    for scope, images in ShippedTable.load().images.items()
    for version in images
]


@pytest.fixture(scope="module")
def image_uris():
    """The SDK's table. Imported here, for that takes seconds of whoever collects this file.

    The SDK reads botocore's endpoints again for each URI, 40 ms times 800; here it reads them once.
    """
    from sagemaker.core import image_uris

    resolver = image_uris.utils._botocore_resolver
    image_uris.utils._botocore_resolver = functools.cache(resolver)
    yield image_uris
    image_uris.utils._botocore_resolver = resolver


@pytest.fixture(scope="module")
def scopes(image_uris):
    """The SDK's entries, by scope."""
    return image_uris.config_for_framework("xgboost")


@pytest.fixture(scope="module")
def shipped():
    return ShippedTable.load()


@pytest.mark.parametrize(("scope", "number"), IMAGES)
def test_every_uri_is_the_sdks(shipped, image_uris, scopes, scope, number):
    regions = sorted(scopes[scope]["versions"][number]["registries"])
    image = shipped.images[scope][number]
    ours = {region: f"{shipped.hosts[region]}/{image['repository']}:{image['tag']}" for region in regions}
    theirs = {region: image_uris.retrieve("xgboost", region, version=number, image_scope=scope) for region in regions}
    assert ours == theirs
    assert set(regions) == set(shipped.hosts)


@pytest.mark.parametrize("scope", ["training", "inference", "inference_graviton"])
def test_no_version_is_missing_or_invented(shipped, scopes, scope):
    assert set(shipped.images[scope]) == set(scopes[scope]["versions"]) - set(REFUSED)


def test_scopes_of_amd64_agree(shipped):
    assert shipped.images["training"] == shipped.images["inference"]


def test_no_scope_is_left_out(shipped, scopes):
    assert set(shipped.images) == set(scopes)
    assert set(SCOPES.values()) <= set(scopes)


def test_a_newer_sdk_is_used_and_says_so(shipped):
    older = ShippedTable("1.0.0", hosts={}, images={})
    table = catalogue.newest_table(older)
    assert isinstance(table, SdkTable)
    assert table.source == f"sagemaker-core {catalogue._installed_sdk()}"


@pytest.mark.parametrize("architecture", Architecture, ids=lambda item: item.value)
def test_both_tables_answer_alike(shipped, image_uris, architecture):
    sdk = SdkTable("any", image_uris)
    assert sdk.regions() == shipped.regions()
    assert set(sdk.versions(architecture)) == set(shipped.versions(architecture))
    for version in sdk.versions(architecture):
        assert sdk.uri(version, "us-west-2", architecture) == shipped.uri(version, "us-west-2", architecture)


def test_the_sdk_is_not_imported_to_ask_for_its_version():
    code = "import sys; from xgbpatch import catalogue; catalogue.source(); print('sagemaker' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
