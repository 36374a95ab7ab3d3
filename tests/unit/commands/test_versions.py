from __future__ import annotations

import datetime
import json

import pytest
from click.testing import CliRunner

from xgbpatch import catalogue
from xgbpatch.catalogue import Support, VersionInfo
from xgbpatch.commands import versions

END = datetime.date(2026, 11, 17)


@pytest.fixture(autouse=True)
def no_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CONFIG_FILE", "XGBPATCH_REGION", "XGBPATCH_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def run(*arguments):
    result = CliRunner().invoke(versions.command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        pytest.param(END - datetime.timedelta(days=91), Support.PATCHED, id="91-days-before"),
        pytest.param(END - datetime.timedelta(days=90), Support.ENDING, id="90-days-before"),
        pytest.param(END, Support.ENDING, id="last-day"),
        pytest.param(END + datetime.timedelta(days=1), Support.ENDED, id="day-after"),
    ],
)
def test_support_by_day(day, expected):
    assert VersionInfo("3.0-5", end_of_patch=END).support(day) is expected


def test_support_without_a_date_is_unknown():
    assert VersionInfo("1.5-1").support(END) is Support.UNKNOWN


def test_every_version_has_a_row_and_its_image_whole_on_a_line():
    lines = run("--region", "eu-west-1").stdout.splitlines()
    for info in catalogue.versions():
        (line,) = (line for line in lines if line.startswith(f"{info.version} "))
        assert f" {info.xgboost} " in line
        assert str(catalogue.image_uri(info.version, "eu-west-1")) in lines


@pytest.mark.parametrize(
    ("day", "mark"),
    [
        pytest.param(datetime.date(2026, 11, 20), "2026-11-17 !", id="past"),
        pytest.param(datetime.date(2026, 10, 1), "2026-11-17 !", id="within-90-days"),
        pytest.param(datetime.date(2026, 1, 1), "2026-11-17  ", id="far"),
    ],
)
def test_the_end_of_patches_is_marked(monkeypatch, day, mark):
    monkeypatch.setattr(versions, "today", lambda: day)
    (line,) = (line for line in run().stdout.splitlines() if line.startswith("3.0-5"))
    assert mark in line


def test_stdout_is_the_table_and_stderr_its_source():
    result = run("--region", "eu-west-1")
    assert result.stdout.startswith("VERSION ")
    assert catalogue.source() in result.stderr
    assert catalogue.source() not in result.stdout


def test_without_a_region_one_is_shown_and_said():
    result = run()
    assert ".us-east-1." in result.stdout
    assert "No region is set" in result.stderr


@pytest.mark.parametrize(
    ("variable", "content"),
    [
        pytest.param("AWS_REGION", "", id="aws"),
        pytest.param("XGBPATCH_REGION", "", id="own-variable"),
        pytest.param(None, 'region = "eu-north-1"', id="file"),
    ],
)
def test_the_configured_region_is_shown(tmp_path, monkeypatch, variable, content):
    (tmp_path / "xgbpatch.toml").write_text(content)
    if variable:
        monkeypatch.setenv(variable, "eu-north-1")
    assert ".eu-north-1." in run().stdout


def test_json_is_one_document():
    document = json.loads(run("--region", "eu-west-1", "--json").stdout)
    assert document["source"] == catalogue.source()
    assert [entry["version"] for entry in document["versions"]] == [info.version for info in catalogue.versions()]
    (entry,) = (entry for entry in document["versions"] if entry["version"] == "1.5-1")
    assert set(entry["images"]) == {"amd64", "arm64"}
    assert entry["images"]["amd64"] == entry["image"]
    assert (entry["python"], entry["glibc"], entry["end_of_patch"]) == ("3.8", "2.27", None)
