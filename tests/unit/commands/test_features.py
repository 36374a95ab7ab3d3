from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from xgbpatch import catalogue
from xgbpatch.commands.features import command
from xgbpatch.errors import ConfigurationError
from xgbpatch.patch.features import FEATURES, features_of


def run(*arguments):
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result


@pytest.mark.parametrize("name", FEATURES)
def test_every_feature_says_what_it_does_and_costs(name):
    (paragraph,) = (part for part in run().stdout.split("\n\n") if part.startswith(f"{name}\n"))
    paragraph, feature = " ".join(paragraph.split()), FEATURES[name]
    assert feature.summary in paragraph
    assert feature.cost in paragraph


def test_json_lists_the_versions_of_each_feature():
    document = json.loads(run("--json").stdout)
    assert document["version"] is None
    for entry in document["features"]:
        expected = [
            info.version for info in catalogue.versions() if FEATURES[entry["name"]] in features_of(info.version)
        ]
        assert entry["versions"] == expected
        assert entry["versions"]


@pytest.mark.parametrize("number", [info.version for info in catalogue.versions()])
def test_a_version_is_shown_its_own_features(number):
    document = json.loads(run("--version", number, "--json").stdout)
    assert [entry["name"] for entry in document["features"]] == [feature.name for feature in features_of(number)]


def test_a_version_without_features_says_so_on_stderr():
    result = run("--version", "0.90-1")
    assert result.stdout == ""
    assert "No feature works on 0.90-1" in result.stderr


def test_an_unknown_version_is_refused():
    with pytest.raises(ConfigurationError, match=r'"1\.5" is not a version'):
        CliRunner().invoke(command, ["--version", "1.5"], catch_exceptions=False)
