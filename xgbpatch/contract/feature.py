"""Which features of ours an image carries."""

from __future__ import annotations

from xgbpatch import provenance
from xgbpatch.contract.finding import NotApplicable
from xgbpatch.contract.session import Session


def carries(session: Session, feature: str) -> bool:
    """Whether the image's labels name `feature`."""
    made = provenance.read(session.image.labels)
    return made is not None and feature in made.features


def needs(session: Session, feature: str) -> None:
    """Raise `NotApplicable` unless the image carries `feature`."""
    if not carries(session, feature):
        raise NotApplicable(f'the image was built without the feature "{feature}"')
