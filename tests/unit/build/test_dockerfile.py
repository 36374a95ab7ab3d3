"""The Dockerfile: deterministic, classic syntax, and values that survive quoting."""

import pytest

from xgbpatch.build import dockerfile
from xgbpatch.errors import ConfigurationError

BASE = "123456789012.dkr.ecr.us-west-2.amazonaws.com/sagemaker-xgboost@sha256:" + "a" * 64


def test_the_whole_text():
    text = dockerfile.render(
        base=BASE,
        version="1.5-1",
        tool_version="0.1.0",
        environment={"B": "two words", "A": "$HOME"},
        labels={"io.xgbpatch.features": "", "org.opencontainers.image.created": "2026-11-20T00:00:00Z"},
    )
    assert text == (
        "# Written by xgbpatch 0.1.0 for SageMaker XGBoost 1.5-1."
        " It adds /opt/xgbpatch and changes no file of the base.\n"
        f"FROM {BASE}\n"
        "\n"
        "COPY xgbpatch/ /opt/xgbpatch/\n"
        "\n"
        'ENV A="\\$HOME" \\\n    B="two words"\n'
        "\n"
        'LABEL io.xgbpatch.features="" \\\n    org.opencontainers.image.created="2026-11-20T00:00:00Z"'
    )


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b"], ids=["LF", "CR", "NUL"])
def test_a_line_break_is_refused(value):
    with pytest.raises(ConfigurationError, match="line break"):
        dockerfile.quoted(value)
