"""Inspecting a base by running it once; the answer is kept by digest, because a digest never changes its content."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xgbpatch import atomically, probe
from xgbpatch.engine.client import Engine
from xgbpatch.engine.values import LocalImage
from xgbpatch.facts import Facts
from xgbpatch.facts_document import facts_of, refuse_incomplete
from xgbpatch.interpreter import run_python


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
            atomically.keep(kept, json.dumps(seen).encode())
    facts = facts_of(seen, image.id, image.environment, image.labels)
    refuse_incomplete((*image.tags, image.id)[0], facts)
    return facts


def as_document(facts: Facts) -> dict[str, Any]:
    """The facts for `inspect --json`: all but the modules' text."""
    document = asdict(facts)
    document["top_levels"] = sorted(facts.top_levels)
    for module in document["modules"].values():
        del module["source"]
    return document


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
