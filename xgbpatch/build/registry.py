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
from xgbpatch.build import layer, ownership, verify
from xgbpatch.build.definition import Builder, BuildResult, ImageDefinition, define
from xgbpatch.build.resolve import Base
from xgbpatch.errors import BaseImageError, ConfigurationError, ContractError, RegistryError
from xgbpatch.inspection import layers
from xgbpatch.oci import image as oci_image
from xgbpatch.oci.image import RemoteImage
from xgbpatch.oci.manifest import Manifest
from xgbpatch.reference import ImageReference
from xgbpatch.registry import Services, copy
from xgbpatch.registry.blobs import Traffic
from xgbpatch.registry.client import find_image, load_base
from xgbpatch.spec import Spec

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class RegistryBuildResult(BuildResult):
    """What had to be moved for it, too; `reference` is by tag and digest."""

    traffic: Traffic


@dataclass(frozen=True)
class RegistryBuilder(Builder):
    """Puts images straight into a registry; no engine is asked for."""

    services: Services

    def define(self, spec: Spec, base: Base) -> ImageDefinition:
        """Everything up to the build, from the base's registry alone. Raises as `EngineBuilder.define`."""
        services = self.services
        if not base.reference.host:
            raise ConfigurationError(
                f'the base "{base.reference}" is in the local engine only',
                "Use --builder docker, or push the base first.",
            )
        image = load_base(services.registry, base.reference, base.architecture.value)
        facts = layers.inspect(image, services.blobs_of(base.reference), services.cache, services.progress)
        created = services.created or created_of(image)
        return define(spec, base, facts, cache=services.cache, progress=services.progress, created=created)

    def build(self, definition: ImageDefinition, name: ImageReference) -> RegistryBuildResult:
        """The image under `name` (host, repository and tag).

        Raises `RegistryError`, `AwsError`, and `ContractError` where the result would differ from its base unasked.
        """
        services = self.services
        labels = provenance.write(definition.provenance)
        pinned, architecture = definition.base.reference, definition.base.architecture.value
        existing = existing_image(services, name, labels, pinned, architecture)
        if existing:
            return RegistryBuildResult(existing.reference, up_to_date=True, traffic=Traffic())
        services.progress.line(f"Building {name}")
        base = load_base(services.registry, pinned, architecture)
        with layer.packed_layer(definition.patch) as added:
            config = oci_image.patched_config(
                base,
                diff_ids=[added.diff_id],
                environment=definition.patch.environment,
                labels=labels,
                created=definition.provenance.created,
            )
            _verify(definition, base, replace(base, config=json.loads(config)), labels)
            manifest = oci_image.patched_manifest(base.manifest, config, [added.descriptor])
            source, target = services.blobs_of(pinned), services.blobs_of(name)
            traffic = copy.copy(source, target, base.layers, services.progress)
            with added.opened() as stream:
                traffic += copy.put(target, stream, added.descriptor, services.progress)
        traffic += copy.put(target, io.BytesIO(config), manifest.config, services.progress)
        return RegistryBuildResult(put_tag(services, manifest, name), up_to_date=False, traffic=traffic)


def created_of(image: RemoteImage) -> datetime:
    """When `image` says it was made; 1970 where it says nothing."""
    try:
        return datetime.strptime(image.created[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    except ValueError:
        return _EPOCH


def existing_image(
    services: Services, name: ImageReference, labels: Mapping[str, str], base: ImageReference, architecture: str
) -> RemoteImage | None:
    """The image under `name` where it is the one with `labels` on `base`, None where the tag is free; refuses another.

    Labels are inherited by whatever is built on an image: its content is what is compared.
    """
    existing = find_image(services.registry, name, architecture)
    if existing is None:
        return None
    why = ""
    if provenance.equal(existing.labels, {**existing.labels, **labels}):
        try:
            ownership.prove(services, existing, base)
            return existing
        except (BaseImageError, ConfigurationError, ContractError) as error:
            why = f": {error.message}"
    raise RegistryError(
        f'the tag "{name}" already holds another image, "{existing.manifest.digest}"{why}',
        "A version tag never moves: look whose image that is, or choose another repository or tag pattern.",
    )


def put_tag(services: Services, manifest: Manifest, name: ImageReference) -> ImageReference:
    """Put `manifest` under its tag, the last step; raises `RegistryError` where somebody else did so meanwhile."""
    reference = services.registry.put_manifest(name, manifest)
    tagged = services.registry.head(name)
    if tagged is None or tagged.digest != manifest.digest:
        raise RegistryError(
            f'"{name}" was moved by another push while this one ended: it is "{tagged.digest if tagged else ""}"',
            f'Both images are complete; this one is "{reference}".',
        )
    return reference


def _verify(definition: ImageDefinition, base: RemoteImage, image: RemoteImage, labels: Mapping[str, str]) -> None:
    findings = list(image.summary.differences(base.summary, definition.patch.environment, labels))
    complaints = verify.added_complaints(definition.facts, definition.patch)
    findings += [f"pip check would say: {line}" for line in complaints]
    if findings:
        raise ContractError(
            "the image would break the promise that nothing unasked changes:\n  " + "\n  ".join(findings)
        )
