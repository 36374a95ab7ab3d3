from __future__ import annotations

import datetime
import sys

import pytest
from packaging.version import Version

from xgbpatch import catalogue
from xgbpatch.catalogue import ShippedTable
from xgbpatch.errors import ConfigurationError
from xgbpatch.spec import Architecture


@pytest.mark.parametrize(
    ("number", "region", "expected"),
    [
        pytest.param(
            "1.5-1", "us-west-2", "246618743249.dkr.ecr.us-west-2.amazonaws.com/sagemaker-xgboost:1.5-1", id="aws"
        ),
        pytest.param(
            "0.90-2",
            "us-east-1",
            "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:0.90-2-cpu-py3",
            id="old-tag-form",
        ),
        pytest.param(
            "3.2-0",
            "cn-north-1",
            "450853457545.dkr.ecr.cn-north-1.amazonaws.com.cn/sagemaker-xgboost:3.2-0",
            id="aws-cn",
        ),
        pytest.param(
            "3.0-5", "us-iso-east-1", "833128469047.dkr.ecr.us-iso-east-1.c2s.ic.gov/sagemaker-xgboost:3.0-5", id="iso"
        ),
        pytest.param(
            "3.0-5",
            "us-isob-east-1",
            "281123927165.dkr.ecr.us-isob-east-1.sc2s.sgov.gov/sagemaker-xgboost:3.0-5",
            id="iso-b",
        ),
        pytest.param(
            "1.7-1",
            "us-gov-west-1",
            "414596584902.dkr.ecr.us-gov-west-1.amazonaws.com/sagemaker-xgboost:1.7-1",
            id="gov",
        ),
    ],
)
def test_uri_of_every_kind_of_partition(number, region, expected):
    assert str(catalogue.image_uri(number, region)) == expected


def test_uri_on_arm64_is_the_graviton_image():
    reference = catalogue.image_uri("1.5-1", "eu-west-1", Architecture.ARM64)
    assert str(reference) == "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:1.5-1-arm64"


def test_every_version_stands_in_every_region_under_that_regions_host():
    for info in catalogue.versions():
        for region in catalogue.regions():
            ecr = catalogue.image_uri(info.version, region).ecr
            assert ecr is not None
            assert ecr.region == region


def test_arm64_of_a_version_without_it_names_those_that_have_it():
    with pytest.raises(ConfigurationError, match=r'no arm64 image of version "3\.2-0"') as caught:
        catalogue.image_uri("3.2-0", "us-west-2", Architecture.ARM64)
    assert "1.3-1, 1.5-1" in caught.value.next_step


@pytest.mark.parametrize("number", ["latest", "1"])
def test_the_oldest_image_under_a_new_name_is_refused_with_the_reason(number):
    with pytest.raises(ConfigurationError, match=f'"{number}" is refused.*oldest image') as caught:
        catalogue.image_uri(number, "us-west-2")
    assert "3.2-0" in caught.value.next_step


@pytest.mark.parametrize(
    ("number", "nearest"), [pytest.param("1.5", "1.5-1", id="no-build"), pytest.param("3.2.0", "3.2-0", id="dots")]
)
def test_unknown_version_gets_the_nearest_and_all(number, nearest):
    with pytest.raises(ConfigurationError, match=f'"{number}" is not a version') as caught:
        catalogue.image_uri(number, "us-west-2")
    assert f'Did you mean "{nearest}"?' in caught.value.next_step
    assert all(info.version in caught.value.next_step for info in catalogue.versions())


def test_unknown_region_gets_the_nearest():
    with pytest.raises(ConfigurationError, match='"us-wset-2" is not a region') as caught:
        catalogue.image_uri("1.5-1", "us-wset-2")
    assert 'Did you mean "us-west-2"?' in caught.value.next_step


def test_every_shipped_version_is_described():
    described = {info.version for info in catalogue.versions() if info.python and info.xgboost and info.glibc}
    assert described == set(ShippedTable.load().versions(Architecture.AMD64))


def test_no_description_without_an_image():
    assert set(catalogue._descriptions()) == {info.version for info in catalogue.versions()}


def test_an_image_without_labels_holds_the_xgboost_of_its_version():
    assert catalogue.xgboost_of("1.5-1", None) == Version("1.5.2")
    assert catalogue.xgboost_of("my-own", None) is None


@pytest.mark.parametrize(
    ("number", "date"),
    [("3.0-5", datetime.date(2026, 11, 17)), ("3.2-0", datetime.date(2027, 5, 13)), ("1.7-1", None)],
)
def test_end_of_patch_dates(number, date):
    (version,) = (info for info in catalogue.versions() if info.version == number)
    assert version.end_of_patch == date


@pytest.mark.parametrize(
    "installed",
    [
        pytest.param(None, id="not-installed"),
        pytest.param("1.0.0", id="older"),
        pytest.param(ShippedTable.load().sdk_version, id="same"),
    ],
)
def test_shipped_table_serves_unless_the_sdk_is_newer(monkeypatch, installed):
    monkeypatch.setattr(catalogue, "_installed_sdk", lambda: installed)
    shipped = ShippedTable.load()
    assert catalogue.newest_table(shipped) is shipped
    assert shipped.source == f"shipped table of sagemaker-core {shipped.sdk_version}"


def test_sdk_that_does_not_import_costs_nothing(monkeypatch):
    monkeypatch.setattr(catalogue, "_installed_sdk", lambda: "999.0")
    monkeypatch.setitem(sys.modules, "sagemaker.core", None)
    shipped = ShippedTable.load()
    assert catalogue.newest_table(shipped) is shipped
