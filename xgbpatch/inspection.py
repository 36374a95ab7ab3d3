"""Inspecting a base by running it once; the answer is kept by digest, because a digest never changes its content."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from xgbpatch import probe
from xgbpatch.engine.client import Engine
from xgbpatch.engine.values import LocalImage
from xgbpatch.errors import BaseImageError
from xgbpatch.facts import Distribution, Facts, PythonFacts, UpstreamModule
from xgbpatch.interpreter import run_python

REQUIRED_MODULES = ("sagemaker_xgboost_container.serving", "sagemaker_xgboost_container.training")
REQUIRED_ENVIRONMENT = ("SAGEMAKER_SERVING_MODULE", "SAGEMAKER_TRAINING_MODULE")


def inspect(engine: Engine, image: LocalImage, cache: Path | None) -> Facts:
    """The facts of `image`, from `cache` (a directory) where it was inspected before.

    Raises `BaseImageError` that lists all that is missing when it is no SageMaker XGBoost image.
    """
    script = probe.source("facts")
    kept = cache / f"{image.id.removeprefix('sha256:')}-{_short(script)}.json" if cache else None
    if kept and kept.exists():
        seen = json.loads(kept.read_text(encoding="utf-8"))
    else:
        seen = json.loads(run_python(engine, image.id, script))
        if kept:
            _write_atomically(kept, json.dumps(seen))
    facts = _facts(image, seen)
    _refuse_incomplete(image, facts)
    return facts


def as_document(facts: Facts) -> dict[str, Any]:
    """The facts for `inspect --json`: all but the modules' text."""
    document = asdict(facts)
    document["top_levels"] = sorted(facts.top_levels)
    for module in document["modules"].values():
        del module["source"]
    return document


def _facts(image: LocalImage, seen: Mapping[str, Any]) -> Facts:
    found = [
        Distribution(canonicalize_name(entry["name"]), entry["version"], tuple(entry["requires"]))
        for entry in seen["distributions"]
        if entry["name"] and entry["version"]
    ]
    return Facts(
        digest=image.id,
        python=PythonFacts(**seen["python"]),
        distributions={distribution.name: distribution for distribution in found},
        modules={name: UpstreamModule(**module) for name, module in seen["modules"].items()},
        top_levels=frozenset(seen["top_levels"]),
        commands=seen["commands"],
        environment=image.environment,
        labels=image.labels,
        complaints=None if seen["complaints"] is None else tuple(seen["complaints"]),
    )


def _refuse_incomplete(image: LocalImage, facts: Facts) -> None:
    missing = [f'command "{name}"' for name, path in facts.commands.items() if not path]
    missing += [f'module "{name}"' for name in REQUIRED_MODULES if name not in facts.modules]
    missing += [f'variable "{name}"' for name in REQUIRED_ENVIRONMENT if name not in facts.environment]
    missing += [] if "xgboost" in facts.distributions else ['distribution "xgboost"']
    if missing:
        name = (*image.tags, image.id)[0]
        raise BaseImageError(
            f'"{name}" is no SageMaker XGBoost image: it lacks {", ".join(missing)}',
            "Name an official image (xgbpatch versions), one built on it, or the stand-in.",
        )


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _write_atomically(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
