"""What goes with an image that has been put into a registry: the list of what was added, and a signature."""

from __future__ import annotations

from dataclasses import dataclass

from xgbpatch.build.definition import ImageDefinition
from xgbpatch.publish import signing
from xgbpatch.publish.signing import Signer
from xgbpatch.reference import ImageReference
from xgbpatch.registry import referrers
from xgbpatch.registry.context import Depot
from xgbpatch.registry.referrers import Artifact


@dataclass(frozen=True)
class Attachments:
    """What is asked for: `sbom` attaches the CycloneDX document, a `signer` signs."""

    sbom: bool = True
    signer: Signer | None = None


def attach_all(depot: Depot, image: ImageReference, made: ImageDefinition, papers: Attachments) -> None:
    """Give the image that `image` names by digest its papers; what it has already is not attached again.

    Raises `RegistryError`, `AwsError` and `SigningError`; the image itself stands.
    """
    if papers.sbom:
        from xgbpatch.publish import sbom  # its library takes a tenth of a second to import

        found = Artifact(sbom.ARTIFACT_TYPE, sbom.ARTIFACT_TYPE, sbom.document(made))
        referrers.attach(depot.registry, depot.blobs_of(image), image, found)
        depot.progress.line(f'SBOM attached to "{image.pinned}"')
    if papers.signer:
        signing.sign(papers.signer, image, depot.registry.credentials_for)
        depot.progress.line(f'signed "{image.pinned}"')
