"""The spec digest: what was asked, as one hash that names the image. Registry, region and tags are not part of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xgbpatch.composition import overlay_digest
from xgbpatch.spec import Spec


def spec_digest(spec: Spec, packages: Sequence[str]) -> str:
    """`sha256:…` over name, version, features, fixes, packages as asked and as resolved, files by content, variables
    and our overlay: two images that `plan` tells apart never share a version tag.

    Equal on any machine and day for equal input; `packages` are `name==version sha256` lines.
    """
    asked = {**_wish(spec), "name": spec.name, "asked": sorted(spec.packages)}
    return _digest({**asked, "packages": sorted(packages), "overlay": overlay_digest()})


def asked_digest(spec: Spec) -> str:
    """`sha256:…` over the same without our overlay, and with the packages as they were asked for: needs no base."""
    return _digest({**_wish(spec), "packages": sorted(spec.packages)})


def _wish(spec: Spec) -> dict[str, Any]:
    return {
        "version": spec.version,
        "architecture": spec.architecture.value,
        "features": sorted(set(spec.features)),
        "fixes": sorted(set(spec.fixes)),
        "files": sorted((file.target, _hash(file.source)) for file in spec.files),
        "replacements": sorted((item.module, _hash(item.source), item.sha256) for item in spec.replacements),
        "environment": list(spec.environment),
    }


def _digest(document: Mapping[str, Any]) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return f"sha256:{hashlib.sha256(canonical).hexdigest()}"


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
