"""Inspecting a base by running it once; the answer is kept by digest, because a digest never changes its content."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xgbpatch import cache, facts_document, probe
from xgbpatch.engine.client import Engine
from xgbpatch.engine.values import LocalImage
from xgbpatch.facts import Facts
from xgbpatch.interpreter import run_probe


def inspect(engine: Engine, image: LocalImage, folder: Path | None) -> Facts:
    """The facts of `image`, from the cache `folder` where it was inspected before.

    Raises `BaseImageError` that lists all that is missing when it is no SageMaker XGBoost image.
    """
    path = folder / f"{image.id.removeprefix('sha256:')}-{probe.mark('facts')}.json" if folder else None
    document = cache.read(path, facts_document.parse)
    if document is None:
        document = run_probe(engine, image, "facts", _parse)
        cache.write(path, document)
    facts = facts_document.facts_of(document, image.id, image.environment, image.labels)
    facts_document.refuse_incomplete((*image.tags, image.id)[0], facts)
    return facts


def as_document(facts: Facts) -> dict[str, Any]:
    """The facts for `inspect --json`: all but the modules' text."""
    document = asdict(facts)
    document["top_levels"] = sorted(facts.top_levels)
    for module in document["modules"].values():
        del module["source"]
    return document


def _parse(answer: str) -> Mapping[str, Any]:
    return facts_document.parse(json.loads(answer))
