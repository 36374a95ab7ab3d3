"""What of ours an image carries, by its labels and by the variables that its build baked."""

from __future__ import annotations

from dataclasses import dataclass

from xgbpatch import provenance
from xgbpatch.engine.values import LocalImage

FEATURES_VARIABLE = "XGBPATCH_FEATURES"
FIXES_VARIABLE = "XGBPATCH_FIXES"


@dataclass(frozen=True)
class Carried:
    """The features and fixes of an image. One that a label names and no variable, or the reverse, counts: its checks
    tell whether it is there."""

    features: frozenset[str] = frozenset()
    fixes: frozenset[str] = frozenset()

    def missing(self, feature: str, fix: str) -> str:
        """Why a check of that feature and of that fix (empty: of none) does not apply, or nothing."""
        if feature and feature not in self.features:
            return f'the image was built without the feature "{feature}"'
        if fix and fix not in self.fixes:
            return f'the image was built without the fix "{fix}"'
        return ""


def read(image: LocalImage) -> Carried:
    """What `image` says that it carries."""
    made = provenance.read(image.labels)
    features, fixes = (made.features, made.fixes) if made else ((), ())
    baked = (_names(image, name) for name in (FEATURES_VARIABLE, FIXES_VARIABLE))
    return Carried(*(frozenset({*named, *found}) for named, found in zip((features, fixes), baked, strict=True)))


def _names(image: LocalImage, variable: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in image.environment.get(variable, "").split(",") if name.strip())
