"""What may not change unasked, as far as an image's configuration tells: layers, variables, labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from xgbpatch.layout import LABEL_PREFIX

_OWN = ("org.opencontainers.image.", LABEL_PREFIX)  # by these an image describes itself, a base too


@dataclass(frozen=True)
class Seen:
    """An image: diff IDs of its layers, base first, variables and labels."""

    layers: tuple[str, ...]
    environment: Mapping[str, str]
    labels: Mapping[str, str]


def findings(base: Seen, image: Seen, asked: Mapping[str, str]) -> Iterator[str]:
    """Every way in which `image` differs from `base` but for the variables `asked`, in words."""
    if image.layers[: len(base.layers)] != base.layers:
        yield "the base's layers are not the first layers of the image"
    for name, value in {**base.environment, **asked}.items():
        if image.environment.get(name) != value:
            yield f'variable "{name}" is "{image.environment.get(name)}" instead of "{value}"'
    for name, value in base.labels.items():
        if not name.startswith(_OWN) and image.labels.get(name) != value:
            yield f'label "{name}" is "{image.labels.get(name)}" instead of "{value}"'
