"""What goes with an image that has been put into a registry: the list of what was added, and a signature."""

from __future__ import annotations

from dataclasses import dataclass

from xgbpatch.build.definition import ImageDefinition
from xgbpatch.publish import signing
from xgbpatch.publish.signing import Signer
from xgbpatch.reference import ImageReference
from xgbpatch.registry import referrers
from xgbpatch.registry.context import Services
from xgbpatch.registry.referrers import Artifact


@dataclass(frozen=True)
class Attachments:
    """What is asked for: `sbom` attaches the CycloneDX document, a `signer` signs."""

    sbom: bool = True
    signer: Signer | None = None


def attach_all(services: Services, image: ImageReference, definition: ImageDefinition, options: Attachments) -> None:
    """Attach what `options` ask for to the image that `image` names by digest; what it has already is left as it is.

    Raises `RegistryError`, `AwsError` and `SigningError`; the image itself stands.
    """
    if options.sbom:
        from xgbpatch.publish import sbom  # its library takes a tenth of a second to import

        artifact = Artifact(sbom.ARTIFACT_TYPE, sbom.ARTIFACT_TYPE, sbom.document(definition))
        referrers.attach(services.registry, services.blobs_of(image), image, artifact)
        services.progress.line(f'SBOM attached to "{image.pinned}"')
    if options.signer:
        signing.sign(options.signer, image, services.registry.credentials_for)
        services.progress.line(f'signed "{image.pinned}"')
