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

from xgbpatch import pip_check, promise, provenance
from xgbpatch.design import Design, Tools, design
from xgbpatch.errors import ConfigurationError, ContractError, RegistryError
from xgbpatch.manifest import Manifest
from xgbpatch.promise import Seen
from xgbpatch.reference import ImageReference
from xgbpatch.remote import config, inspection, layer, transfer
from xgbpatch.remote.blobs import Traffic
from xgbpatch.remote.depot import Depot
from xgbpatch.remote.image import RemoteImage, find, load_base
from xgbpatch.resolution import Base
from xgbpatch.spec import Spec

_BEGINNING = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Assembled:
    """Where the image stands, by tag and digest; whether it stood there already; and what had to be moved for it."""

    reference: ImageReference
    up_to_date: bool
    traffic: Traffic


def render(depot: Depot, spec: Spec, base: Base) -> Design:
    """Everything up to the build, from the base's registry alone. Raises as `building.render`."""
    if not base.reference.host:
        raise ConfigurationError(
            f'the base "{base.reference}" is in the local engine only', "Use --builder docker, or push the base first."
        )
    image = load_base(depot.registry, base.reference, base.architecture.value)
    facts = inspection.inspect(image, depot.blobs_of(base.reference), depot.cache, depot.progress)
    return design(spec, base, facts, Tools(depot.cache, depot.progress, depot.moment or created(image)))


def created(image: RemoteImage) -> datetime:
    """When `image` says it was made; 1970 where it says nothing."""
    try:
        return datetime.strptime(image.created[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    except ValueError:
        return _BEGINNING


def assemble(depot: Depot, made: Design, destination: ImageReference) -> Assembled:
    """The image under `destination` (host, repository and tag).

    Raises `RegistryError`, `AwsError`, and `ContractError` where the result would break the promise.
    """
    held = standing(depot, destination, provenance.write(made.provenance), made.spec.architecture.value)
    if held:
        return Assembled(held.reference, up_to_date=True, traffic=Traffic())
    depot.progress.line(f"Building {destination}")
    base = load_base(depot.registry, made.base.reference, made.base.architecture.value)
    with layer.made(made.patch) as added:
        content = _configuration(base, made, added.diff_id)
        _hold_to_promise(base, content, made)
        manifest = config.manifest(base.manifest, config.descriptor(content), [added.descriptor])
        traffic = _sent(depot, (base, made, destination), added)
    target = depot.blobs_of(destination)
    traffic += transfer.put(target, io.BytesIO(content), manifest.config, depot.progress)
    return Assembled(named(depot, manifest, destination), up_to_date=False, traffic=traffic)


def standing(
    depot: Depot, destination: ImageReference, labels: Mapping[str, str], architecture: str
) -> RemoteImage | None:
    """The image under `destination` where it is the one with `labels`, None where the tag is free; refuses another."""
    held = find(depot.registry, destination, architecture)
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


def _sent(depot: Depot, what: tuple[RemoteImage, Design, ImageReference], added: layer.Layer) -> Traffic:
    base, made, destination = what
    source, target = depot.blobs_of(made.base.reference), depot.blobs_of(destination)
    traffic = transfer.copy(source, target, base.layers, depot.progress)
    with added.opened() as stream:
        return traffic + transfer.put(target, stream, added.descriptor, depot.progress)


def _configuration(base: RemoteImage, made: Design, diff_id: str) -> bytes:
    labels, moment = provenance.write(made.provenance), made.provenance.created
    return config.patched(base, config.Addition([diff_id], made.patch.environment, labels, moment))


def _hold_to_promise(base: RemoteImage, content: bytes, made: Design) -> None:
    image = replace(base, config=json.loads(content))
    found = list(promise.findings(seen(base), seen(image), made.patch.environment))
    found += [f"pip check would say: {line}" for line in pip_check.added_complaints(made.facts, made.patch)]
    if found:
        raise ContractError("the image would break the promise that nothing unasked changes:\n  " + "\n  ".join(found))


def seen(image: RemoteImage) -> Seen:
    """What the promise is held to."""
    return Seen(image.diff_ids, image.environment, image.labels)
