"""Which variables a user may put into an image. Everyone who pulls the image can read them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from xgbpatch.errors import ConfigurationError

_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
_CREDENTIAL_NAME = re.compile(r"AWS_.*KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|API_?KEY|PRIVATE_?KEY")
_ACCESS_KEY = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
RESERVED = MappingProxyType({
    "PATH": "the base's commands are found through it",
    "PYTHONPATH": "the overlay extends it",
    "LD_LIBRARY_PATH": "the base finds its libraries through it",
    "HOME": "SageMaker sets it",
    "SAGEMAKER_SERVING_MODULE": "the overlay is switched in through it",
    "SAGEMAKER_TRAINING_MODULE": "the overlay is switched in through it",
    "XGBPATCH_FEATURES": "the features of the image are written there",
    "XGBPATCH_FIXES": "the fixes of the image are written there",
    "XGBPATCH_BASE": "the base of the image is written there",
    "XGBPATCH_RELEASE": "the xgbpatch that made the image is written there",
})  # fmt: skip


def environment(value: Any) -> Mapping[str, str]:
    """Names and values for the image; raises `ConfigurationError` for a reserved name or a secret."""
    if not isinstance(value, dict):
        raise ConfigurationError("must be a table of NAME = value", 'Write it as { OMP_NUM_THREADS = "4" }.')
    return {_name(name): _value(name, entry) for name, entry in value.items()}


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f'"{name}" is not a variable name', "Use capital letters, digits and underscores, no digit first."
        )
    if name in RESERVED:
        raise ConfigurationError(f'"{name}" cannot be set: {RESERVED[name]}', f"Not allowed: {', '.join(RESERVED)}.")
    if _CREDENTIAL_NAME.search(name):
        raise _secret(name)
    return name


def _value(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ConfigurationError(f'the value of "{name}" must be text or a number', f'Write it as {name} = "…".')
    written = str(value)
    if _UNPRINTABLE.search(written):
        raise ConfigurationError(f'the value of "{name}" holds a line break or a control character')
    if _ACCESS_KEY.search(written):
        raise _secret(name)
    return written


def _secret(name: str) -> ConfigurationError:
    return ConfigurationError(
        f'"{name}" looks like a credential, and variables can be read by everyone who pulls the image',
        "Give it to the endpoint or the training job when it is created, or let its role do the work.",
    )
