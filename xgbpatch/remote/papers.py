"""What goes with an image that has been put into a registry: the list of what was added, and a signature."""

from __future__ import annotations

from dataclasses import dataclass

from xgbpatch import signing
from xgbpatch.design import Design
from xgbpatch.reference import ImageReference
from xgbpatch.remote import referrers
from xgbpatch.remote.depot import Depot
from xgbpatch.remote.referrers import Artifact
from xgbpatch.signing import Signer


@dataclass(frozen=True)
class Papers:
    """What is asked for: `sbom` attaches the CycloneDX document, a `signer` signs."""

    sbom: bool = True
    signer: Signer | None = None


def issue(depot: Depot, image: ImageReference, made: Design, papers: Papers) -> None:
    """Give the image that `image` names by digest its papers; what it has already is not attached again.

    Raises `RegistryError`, `AwsError` and `SigningError`; the image itself stands.
    """
    if papers.sbom:
        from xgbpatch import sbom  # its library takes a tenth of a second to import

        found = Artifact(sbom.ARTIFACT_TYPE, sbom.ARTIFACT_TYPE, sbom.document(made))
        referrers.attach(depot.registry, depot.blobs_of(image), image, found)
        depot.progress.line(f'SBOM attached to "{image.pinned}"')
    if papers.signer:
        signing.sign(papers.signer, image, depot.registry.credentials_for)
        depot.progress.line(f'signed "{image.pinned}"')
