"""Which features of ours an image carries."""

from __future__ import annotations

from xgbpatch import provenance
from xgbpatch.contract.finding import NotApplicable
from xgbpatch.contract.session import Session


def needs(session: Session, feature: str) -> None:
    """Raise `NotApplicable` unless the image's labels name `feature`."""
    made = provenance.read(session.image.labels)
    if made is None or feature not in made.features:
        raise NotApplicable(f'the image was built without the feature "{feature}"')
