from __future__ import annotations

import pytest

from xgbpatch.config import loader
from xgbpatch.errors import ConfigurationError

CONFIG = """\
[default]
region = eu-west-1

[profile work]
region = us-west-2
output = json

[profile bare]
output = json
"""


@pytest.fixture
def home(tmp_path):
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(CONFIG)
    (tmp_path / "other").write_text("[default]\nregion = sa-east-1\n")
    return tmp_path


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({"AWS_REGION": "a-b-1", "AWS_DEFAULT_REGION": "a-b-2"}, "a-b-1", id="region-first"),
        pytest.param({"AWS_DEFAULT_REGION": "a-b-2", "AWS_PROFILE": "work"}, "a-b-2", id="default-region-second"),
        pytest.param({}, "eu-west-1", id="default-profile"),
        pytest.param({"AWS_PROFILE": "work"}, "us-west-2", id="profile"),
        pytest.param({"AWS_DEFAULT_PROFILE": "work"}, "us-west-2", id="default-profile-variable"),
        pytest.param({"AWS_PROFILE": "bare"}, None, id="profile-without-region"),
        pytest.param({"AWS_PROFILE": "absent"}, None, id="no-such-profile"),
        pytest.param({"AWS_CONFIG_FILE": "~/other"}, "sa-east-1", id="another-file"),
        pytest.param({"AWS_CONFIG_FILE": "~/none"}, None, id="no-such-file"),
        pytest.param({"AWS_REGION": ""}, "eu-west-1", id="empty-counts-as-unset"),
    ],
)
def test_region_of_aws(home, environ, expected):
    assert loader.region_from_aws({"HOME": str(home), **environ}) == expected


def test_no_home_no_region():
    assert loader.region_from_aws({}) is None


def test_a_broken_file_is_named(home):
    (home / "broken").write_text("region = eu-west-1\n")
    with pytest.raises(ConfigurationError, match=r"cannot read the region from .*broken"):
        loader.region_from_aws({"AWS_CONFIG_FILE": str(home / "broken")})
