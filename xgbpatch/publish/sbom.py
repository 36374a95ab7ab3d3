"""What a patch added, as a CycloneDX bill of materials. The base is named and not described: it is AWS's to describe.

Equal definitions give equal bytes: the serial number follows from what was made, the time is that of the provenance.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType, Pedigree
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from xgbpatch import layout
from xgbpatch.build.definition import ImageDefinition
from xgbpatch.patch.packages import Pin
from xgbpatch.provenance import PROJECT

ARTIFACT_TYPE = "application/vnd.cyclonedx+json"
SPECIFICATION = "1.6"
_NOT_DESCRIBED = "The base image is AWS's: nothing that it holds is listed here."
_TREE_HASH = "SHA-256 over the targets, modes and contents of the files, not of one archive"


def document(definition: ImageDefinition) -> bytes:
    """The document as JSON (specification 1.6): overlay, packages, the user's files by hash, replaced modules."""
    origin = definition.provenance
    image = Component(
        name=definition.reference.repository,
        version=definition.reference.tag,
        type=ComponentType.CONTAINER,
        bom_ref="image",
        pedigree=Pedigree(ancestors=[_base(definition)], notes=_NOT_DESCRIBED),
        properties=_properties(
            {
                "spec-digest": origin.spec_digest,
                "patch-digest": origin.patch_digest,
                "files-digest": origin.files_digest,
            }
        ),
    )
    tool = Component(
        name="xgbpatch",
        version=origin.tool_version,
        type=ComponentType.APPLICATION,
        purl=PackageURL("pypi", None, "xgbpatch", origin.tool_version),
    )
    moment = datetime.fromisoformat(origin.created.replace("Z", "+00:00"))
    parts = [str(definition.reference), origin.base_digest, origin.patch_digest, origin.tool_version, origin.created]
    bom = Bom(
        serial_number=uuid5(NAMESPACE_URL, f"{PROJECT}#{json.dumps(parts)}"),
        metadata=BomMetaData(timestamp=moment, component=image, tools=ToolRepository(components=[tool])),
    )
    bom.components.update(_components(definition))
    bom.register_dependency(image, list(bom.components))
    text: str = JsonV1Dot6(bom).output_as_string(indent=2)
    return f"{text}\n".encode()


def _base(definition: ImageDefinition) -> Component:
    """By its package URL (purl type `oci`), whose version is the digest."""
    base = definition.base.reference
    name = base.repository.rsplit("/", 1)[-1]
    qualifiers = {"repository_url": base.name} if base.host else {}
    qualifiers |= {"tag": base.tag} if base.tag else {}
    return Component(
        name=base.repository,
        version=base.digest or base.tag,
        type=ComponentType.CONTAINER,
        bom_ref="base",
        purl=PackageURL("oci", None, name, base.digest or None, qualifiers),
        description=_NOT_DESCRIBED,
        properties=_properties({"described": "false"}),
    )


def _components(definition: ImageDefinition) -> Iterator[Component]:
    yield Component(
        name="xgbpatch-overlays",
        version=definition.provenance.tool_version,
        type=ComponentType.LIBRARY,
        bom_ref="overlay",
        hashes=[_sha256(definition.provenance.overlay_digest.removeprefix("sha256:"))],
        properties=_properties({"kind": "overlay", "hash": _TREE_HASH}),
    )
    yield from (_package(pin) for pin in definition.pins)
    for file in definition.patch.files:  # the overlay's and the packages' have their components already
        for kind, folder in (("file", layout.USER), ("replacement", layout.REPLACEMENTS)):
            if file.target.startswith(f"{folder}/"):
                yield Component(  # its name and hash, and nothing of what it says
                    name=file.target.removeprefix(f"{folder}/"),
                    type=ComponentType.FILE,
                    bom_ref=file.target,
                    hashes=[_sha256(file.sha256)],
                    properties=_properties({"kind": kind}),
                )


def _package(pin: Pin) -> Component:
    purl = PackageURL("pypi", None, pin.name, pin.version)
    return Component(
        name=pin.name,
        version=pin.version,
        type=ComponentType.LIBRARY,
        bom_ref=str(purl),
        purl=purl,
        hashes=[_sha256(pin.sha256)],
        properties=_properties({"kind": "package", "wheel": pin.filename}),
    )


def _sha256(digits: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digits)


def _properties(values: dict[str, str]) -> list[Property]:
    return [Property(name=f"{layout.LABEL_PREFIX}{name}", value=value) for name, value in values.items()]
