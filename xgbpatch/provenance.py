"""What an image remembers of its making, in labels: Docker's own manifest has no annotations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xgbpatch.errors import ConfigurationError
from xgbpatch.layout import LABEL_PREFIX
from xgbpatch.reference import ImageReference

BASE_NAME = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"
SOURCE = "org.opencontainers.image.source"
VERSION = "org.opencontainers.image.version"
CREATED = "org.opencontainers.image.created"
TOOL_VERSION = f"{LABEL_PREFIX}version"
SPEC_DIGEST = f"{LABEL_PREFIX}spec-digest"
PATCH_DIGEST = f"{LABEL_PREFIX}patch-digest"
OVERLAY_DIGEST = f"{LABEL_PREFIX}overlay-digest"
FEATURES = f"{LABEL_PREFIX}features"
FIXES = f"{LABEL_PREFIX}fixes"
PACKAGES = f"{LABEL_PREFIX}packages"
IMAGE = f"{LABEL_PREFIX}image"
ASKED_DIGEST = f"{LABEL_PREFIX}asked-digest"
FILES_DIGEST = f"{LABEL_PREFIX}files-digest"
HOOKS = f"{LABEL_PREFIX}hooks"
PYTHON = f"{LABEL_PREFIX}python"
BASE_PACKAGES = f"{LABEL_PREFIX}base-packages"
TAG = f"{LABEL_PREFIX}tag"
PROJECT = "https://github.com/xgbpatch/xgbpatch"

_LABELS = {  # by field, in the order of the fields
    "base_name": BASE_NAME, "base_digest": BASE_DIGEST, "version": VERSION, "tool_version": TOOL_VERSION,
    "spec_digest": SPEC_DIGEST, "patch_digest": PATCH_DIGEST, "overlay_digest": OVERLAY_DIGEST,
    "features": FEATURES, "fixes": FIXES, "packages": PACKAGES, "created": CREATED, "image": IMAGE,
    "asked_digest": ASKED_DIGEST, "files_digest": FILES_DIGEST, "hooks": HOOKS, "python": PYTHON,
    "base_packages": BASE_PACKAGES, "tag": TAG,
}  # fmt: skip
LABELS = frozenset({*_LABELS.values(), SOURCE})  # that xgbpatch gives an image, whatever its base says there
# What another day, another xgbpatch or another tag pattern says otherwise of the same image.
_OF_ITS_MAKING = frozenset({CREATED, TOOL_VERSION, HOOKS, PYTHON, BASE_PACKAGES, TAG})
_PIN = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9._!+-]+")
_PYTHON = re.compile(r"\d+\.\d+\.\d\S* \S+ glibc-(\d+(\.\d+)*)?")


@dataclass(frozen=True)
class Provenance:
    """The base (its name and digest), the SageMaker version, what was asked and with which xgbpatch.

    Digests are `sha256:` and 64 hexadecimal digits; `created` is RFC 3339; `packages` are `name==version`.
    `patch_digest` covers every byte and variable the patch adds: images with equal base and patch digests are equal;
    `files_digest` covers the files alone. `image` is the spec's name, `asked_digest` covers what was asked before any
    package was resolved. `hooks` are `module:function=hash` of the base's functions that the patch relies on. `python`
    (`3.12.8 x86_64 glibc-2.34`) and `base_packages` tell for which base the packages were resolved; both are empty
    where there are none. `tag` is the version tag that it was made under.
    """

    base_name: str
    base_digest: str
    version: str
    tool_version: str
    spec_digest: str
    patch_digest: str
    overlay_digest: str
    features: tuple[str, ...]
    fixes: tuple[str, ...]
    packages: tuple[str, ...]
    created: str
    image: str = ""
    asked_digest: str = ""
    files_digest: str = ""
    hooks: tuple[str, ...] = ()
    python: str = ""
    base_packages: tuple[str, ...] = ()
    tag: str = ""

    @property
    def base(self) -> ImageReference | None:
        """The base in its registry, pinned. None for a base that only the local engine knew, and where the
        labels, which anybody can write, hold no name or no digest."""
        try:
            name = ImageReference.parse(f"{self.base_name}@{self.base_digest}")
        except ConfigurationError:
            return None
        return name if name.host else None


def write(provenance: Provenance) -> dict[str, str]:
    """The labels, in the order they stand in the Dockerfile."""
    values = {label: getattr(provenance, name) for name, label in _LABELS.items()}
    labels = {label: value if isinstance(value, str) else ",".join(value) for label, value in values.items()}
    return {BASE_NAME: labels[BASE_NAME], BASE_DIGEST: labels[BASE_DIGEST], SOURCE: PROJECT, **labels}


def read(labels: Mapping[str, str]) -> Provenance | None:
    """The provenance that `labels` carry, or None for an image that xgbpatch did not make.

    A label may hold anything. It is text here, but for packages and `python`, which the resolver is given: what is
    not of their form is left out.
    """
    if SPEC_DIGEST not in labels:
        return None
    values: dict[str, Any] = {name: labels.get(label, "") for name, label in _LABELS.items()}
    for name in ("features", "fixes", "packages", "hooks", "base_packages"):
        values[name] = tuple(item for item in values[name].split(",") if item)
    for name in ("packages", "base_packages"):
        values[name] = tuple(item for item in values[name] if _PIN.fullmatch(item))
    values["python"] = values["python"] if _PYTHON.fullmatch(values["python"]) else ""
    return Provenance(**values)


def equal(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether these are the labels of one image, whenever and by which xgbpatch it was made.

    Whatever is built on an image inherits its labels: that they are equal proves nothing of the rest.
    """
    compared = [
        {name: value for name, value in labels.items() if name not in _OF_ITS_MAKING} for labels in (one, other)
    ]
    return compared[0] == compared[1]
