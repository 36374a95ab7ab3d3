"""Facts from the document that the probe prints, and whether they are those of a SageMaker XGBoost image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from packaging.utils import canonicalize_name

from xgbpatch.errors import BaseImageError
from xgbpatch.facts import Distribution, Facts, PythonFacts, UpstreamModule

REQUIRED_MODULES = ("sagemaker_xgboost_container.serving", "sagemaker_xgboost_container.training")
REQUIRED_ENVIRONMENT = ("SAGEMAKER_SERVING_MODULE", "SAGEMAKER_TRAINING_MODULE")


def facts_of(seen: Mapping[str, Any], digest: str, environment: Mapping[str, str], labels: Mapping[str, str]) -> Facts:
    """The facts of the image `digest` from the document that `probe/facts.py` prints, and from its configuration."""
    found = [
        Distribution(canonicalize_name(entry["name"]), entry["version"], tuple(entry["requires"]))
        for entry in seen["distributions"]
        if entry["name"] and entry["version"]
    ]
    return Facts(
        digest=digest,
        python=PythonFacts(**seen["python"]),
        distributions={distribution.name: distribution for distribution in found},
        modules={name: UpstreamModule(**module) for name, module in seen["modules"].items()},
        top_levels=frozenset(seen["top_levels"]),
        commands=seen["commands"],
        environment=environment,
        labels=labels,
        complaints=None if seen["complaints"] is None else tuple(seen["complaints"]),
    )


def refuse_incomplete(name: str, facts: Facts) -> None:
    """Raises `BaseImageError` that lists all that the image called `name` lacks of a SageMaker XGBoost image."""
    missing = [f'command "{command}"' for command, path in facts.commands.items() if not path]
    missing += [f'module "{module}"' for module in REQUIRED_MODULES if module not in facts.modules]
    missing += [f'variable "{variable}"' for variable in REQUIRED_ENVIRONMENT if variable not in facts.environment]
    missing += [] if "xgboost" in facts.distributions else ['distribution "xgboost"']
    if missing:
        raise BaseImageError(
            f'"{name}" is no SageMaker XGBoost image: it lacks {", ".join(missing)}',
            "Name an official image (xgbpatch versions), one built on it, or the stand-in.",
        )
