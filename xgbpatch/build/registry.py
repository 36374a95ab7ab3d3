"""The builder without an engine: the same spec, layer and labels as the engine's builder, put straight into a registry.

The sequence, and why it has no bad moment: the tag is looked at first (it never moves); then the base's blobs that the
repository lacks are mounted or streamed, our layer and the configuration are uploaded, all under their digests; the
manifest comes last and in one step. A build that is cut off leaves blobs without a name, which the next one finds
there, and which registries collect. What only a running container can tell (the overlays import) is `test-local`'s.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from xgbpatch import provenance
from xgbpatch.build import layer, verify
from xgbpatch.build.definition import ImageDefinition, Tools, define
from xgbpatch.build.resolve import Base
from xgbpatch.build.verify import ConfigSummary
from xgbpatch.errors import ConfigurationError, ContractError, RegistryError
from xgbpatch.inspection import layers
from xgbpatch.oci import image
from xgbpatch.oci.image import RemoteImage
from xgbpatch.oci.manifest import Manifest
from xgbpatch.reference import ImageReference
from xgbpatch.registry import copy
from xgbpatch.registry.blobs import Traffic
from xgbpatch.registry.context import Depot
from xgbpatch.registry.images import find_image, load_base
from xgbpatch.spec import Spec

_BEGINNING = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class RegistryBuildResult:
    """Where the image stands, by tag and digest; whether it stood there already; and what had to be moved for it."""

    reference: ImageReference
    up_to_date: bool
    traffic: Traffic


def render(depot: Depot, spec: Spec, base: Base) -> ImageDefinition:
    """Everything up to the build, from the base's registry alone. Raises as `building.render`."""
    if not base.reference.host:
        raise ConfigurationError(
            f'the base "{base.reference}" is in the local engine only', "Use --builder docker, or push the base first."
        )
    image = load_base(depot.registry, base.reference, base.architecture.value)
    facts = layers.inspect(image, depot.blobs_of(base.reference), depot.cache, depot.progress)
    return define(spec, base, facts, Tools(depot.cache, depot.progress, depot.moment or created(image)))


def created(image: RemoteImage) -> datetime:
    """When `image` says it was made; 1970 where it says nothing."""
    try:
        return datetime.strptime(image.created[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    except ValueError:
        return _BEGINNING


def build(depot: Depot, made: ImageDefinition, destination: ImageReference) -> RegistryBuildResult:
    """The image under `destination` (host, repository and tag).

    Raises `RegistryError`, `AwsError`, and `ContractError` where the result would break the promise.
    """
    held = standing(depot, destination, provenance.write(made.provenance), made.spec.architecture.value)
    if held:
        return RegistryBuildResult(held.reference, up_to_date=True, traffic=Traffic())
    depot.progress.line(f"Building {destination}")
    base = load_base(depot.registry, made.base.reference, made.base.architecture.value)
    with layer.packed_layer(made.patch) as added:
        content = _configuration(base, made, added.diff_id)
        _hold_to_promise(base, content, made)
        manifest = image.patched_manifest(base.manifest, image.config_descriptor(content), [added.descriptor])
        traffic = _sent(depot, (base, made, destination), added)
    target = depot.blobs_of(destination)
    traffic += copy.put(target, io.BytesIO(content), manifest.config, depot.progress)
    return RegistryBuildResult(named(depot, manifest, destination), up_to_date=False, traffic=traffic)


def standing(
    depot: Depot, destination: ImageReference, labels: Mapping[str, str], architecture: str
) -> RemoteImage | None:
    """The image under `destination` where it is the one with `labels`, None where the tag is free; refuses another."""
    held = find_image(depot.registry, destination, architecture)
    if held is None or provenance.equal(held.labels, labels):
        return held
    raise RegistryError(
        f'the tag "{destination}" already holds another image, "{held.manifest.digest}"',
        "A version tag never moves: choose another repository or tag pattern.",
    )


def named(depot: Depot, manifest: Manifest, destination: ImageReference) -> ImageReference:
    """Put `manifest` under its tag, the last step; raises `RegistryError` where somebody else did so meanwhile."""
    reference = depot.registry.put_manifest(destination, manifest)
    there = depot.registry.head(destination)
    if there is None or there.digest != manifest.digest:
        raise RegistryError(
            f'"{destination}" was moved by another push while this one ended: it is "{there.digest if there else ""}"',
            f'Both images are complete; this one is "{reference}".',
        )
    return reference


def _sent(depot: Depot, what: tuple[RemoteImage, ImageDefinition, ImageReference], added: layer.Layer) -> Traffic:
    base, made, destination = what
    source, target = depot.blobs_of(made.base.reference), depot.blobs_of(destination)
    traffic = copy.copy(source, target, base.layers, depot.progress)
    with added.opened() as stream:
        return traffic + copy.put(target, stream, added.descriptor, depot.progress)


def _configuration(base: RemoteImage, made: ImageDefinition, diff_id: str) -> bytes:
    labels, moment = provenance.write(made.provenance), made.provenance.created
    return image.patched_config(base, image.ConfigAddition([diff_id], made.patch.environment, labels, moment))


def _hold_to_promise(base: RemoteImage, content: bytes, made: ImageDefinition) -> None:
    image = replace(base, config=json.loads(content))
    found = list(verify.config_findings(config_summary(base), config_summary(image), made.patch.environment))
    found += [f"pip check would say: {line}" for line in verify.added_complaints(made.facts, made.patch)]
    if found:
        raise ContractError("the image would break the promise that nothing unasked changes:\n  " + "\n  ".join(found))


def config_summary(image: RemoteImage) -> ConfigSummary:
    """What the promise is held to."""
    return ConfigSummary(image.diff_ids, image.environment, image.labels)
