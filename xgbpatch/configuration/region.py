"""The AWS region where nobody named one: from AWS's own variables and file (botocore would be slow to load)."""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from pathlib import Path

from xgbpatch.errors import ConfigurationError


def from_aws(environ: Mapping[str, str]) -> str | None:
    """`AWS_REGION`, else `AWS_DEFAULT_REGION`, else the region of the profile in AWS's config file, else None."""
    return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or _of_profile(environ)


def _of_profile(environ: Mapping[str, str]) -> str | None:
    path = _config_file(environ)
    if path is None or not path.is_file():
        return None
    file = configparser.RawConfigParser(strict=False)
    try:
        file.read_string(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise ConfigurationError(
            f'cannot read the region from "{path}": {error}', "Mend the file, or pass --region."
        ) from error
    profile = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE") or "default"
    sections = (f"profile {profile}", profile) if profile != "default" else ("default", "profile default")
    return next((file.get(name, "region") for name in sections if file.has_option(name, "region")), None) or None


def _config_file(environ: Mapping[str, str]) -> Path | None:
    named, home = environ.get("AWS_CONFIG_FILE"), environ.get("HOME")
    if named and not named.startswith("~/"):
        return Path(named)
    if not home:
        return None
    return Path(home, named.removeprefix("~/") if named else ".aws/config")
