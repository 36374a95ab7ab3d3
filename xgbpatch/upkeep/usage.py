"""Which models and endpoints run an image of ours that has been superseded, and the AWS CLI commands that update each.

A model keeps its image for ever, so updating means a new model, a new endpoint configuration that names it, and the
endpoint moved over. The commands carry everything that CreateModel and CreateEndpointConfig were given before.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from xgbpatch.aws.sagemaker import Endpoint, Kind, Model, SageMaker
from xgbpatch.errors import AwsError, RegistryError
from xgbpatch.oci.image import RemoteImage
from xgbpatch.provenance import Provenance
from xgbpatch.publish import test_record
from xgbpatch.publish.aliases import WITHDRAWN
from xgbpatch.reference import ImageReference
from xgbpatch.registry import Services
from xgbpatch.registry.client import find_image
from xgbpatch.upkeep.repository import ListedImage, RepositoryItem, list_repository, newer, repository

_LONGEST_NAME = 63  # of a model and of an endpoint configuration
_OWN_ENDING = re.compile(r"-[0-9a-f]{8}$")


@dataclass(frozen=True)
class Standing:
    """An image of ours as something names it. `reasons` say in words how it is behind, and are empty where it is not.

    `newest` is the newest image of the same name in its repository that has a record of passing test-local and that no
    rollback has withdrawn, `stale_too` whether that stands on an old base itself. `untested` is a newer image where
    none of them has such a record.
    """

    image: ImageReference
    provenance: Provenance
    reasons: tuple[str, ...]
    newest: ImageReference | None = None
    stale_too: bool = False
    untested: ImageReference | None = None


@dataclass(frozen=True)
class Behind:
    """A model or an endpoint on a superseded image, and the commands that update it, in their order.

    No commands where there is no newer image yet, or none that was tested, or where they cannot be known: `advice` then
    says what to do first.
    """

    kind: Kind
    name: str
    region: str
    standing: Standing
    commands: tuple[str, ...]
    advice: str = ""


@dataclass(frozen=True)
class Usage:
    """Who is behind; how many run an image of ours that is not; and the images about which nothing could be found out,
    each with why."""

    behind: tuple[Behind, ...]
    current: int
    unknown: Mapping[ImageReference, str] = field(hash=False)


class Assessment:
    """Judges images, each once, and remembers repositories and base tags that it has looked at."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._registry = services.registry
        self._standings: dict[ImageReference, Standing | None] = {}
        self._items: dict[str, tuple[RepositoryItem, ...]] = {}
        self._bases: dict[tuple[str, str], str] = {}
        self._passed: dict[ImageReference, bool] = {}
        self.unknown: dict[ImageReference, str] = {}

    def standing(self, image: ImageReference) -> Standing | None:
        """None for an image of another maker, and for one that cannot be read (`unknown` says why)."""
        if image not in self._standings:
            self._standings[image] = None
            try:
                self._standings[image] = self._judged(image)
            except (AwsError, RegistryError) as error:
                self.unknown[image] = error.message
        return self._standings[image]

    def _judged(self, image: ImageReference) -> Standing | None:
        if not image.host:
            return None
        remote = find_image(self._registry, image)
        if remote is None:
            self.unknown[image] = "it is not in its registry any more"
            return None
        if remote.provenance is None:
            return None
        standing = Standing(remote.reference, remote.provenance, self._moved_base(remote))
        later = self._later(remote)
        if not later:
            return standing
        tested = next((item for item in later if self._has_passed(item)), None)
        later_image = (tested or later[0]).listed
        named = replace(image, tag="", digest=later_image.digest)
        name = later_image.tags[0] if later_image.tags else later_image.digest
        reasons = (*standing.reasons, f'superseded by "{name}"')
        if tested is None:
            return replace(standing, reasons=reasons, untested=named)
        stale = bool(tested.image and self._moved_base(tested.image))
        return replace(standing, reasons=reasons, newest=named, stale_too=stale)

    def _moved_base(self, image: RemoteImage) -> tuple[str, ...]:
        """In words, where its base's tag names another image now; empty where the base is in no registry."""
        provenance = image.provenance
        if provenance is None or provenance.base is None or not provenance.base.tag:
            return ()
        key = (provenance.base_name, image.architecture)
        if key not in self._bases:
            base = find_image(self._registry, replace(provenance.base, digest=""), image.architecture)
            self._bases[key] = base.reference.digest if base else ""
        now = self._bases[key]
        return (f'its base "{provenance.base_name}" is "{now}" now',) if now not in ("", provenance.base_digest) else ()

    def _has_passed(self, item: RepositoryItem) -> bool:
        """Whether a record says so that is attached to the image."""
        if item.image is None:
            return False
        image = item.image.reference
        if image not in self._passed:
            self._passed[image] = test_record.latest_pass(self._services, image) is not None
        return self._passed[image]

    def _later(self, image: RemoteImage) -> tuple[RepositoryItem, ...]:
        """Newer ones that no rollback has withdrawn, the newest first."""
        place = replace(image.reference, tag="", digest="")
        if place.name not in self._items:
            self._items[place.name] = list_repository(self._registry, repository(self._registry, place))
        items = self._items[place.name]
        listed = next((item.listed for item in items if item.listed.digest == image.reference.digest), None)
        this = RepositoryItem(listed or ListedImage(image.reference.digest, ()), image.manifest, image)
        return tuple(item for item in newer(this, items) if not _is_withdrawn(item))


def usage(places: Sequence[SageMaker], services: Services) -> Usage:
    """Of the models and endpoints in these regions; raises `AwsError` where SageMaker cannot be asked."""
    assessment = Assessment(services)
    behind: list[Behind] = []
    current = 0
    for sagemaker in places:
        models = {model.name: model for model in sagemaker.models()}
        endpoints = sagemaker.endpoints()
        served = {name for endpoint in endpoints for name in endpoint.models}
        items = [_endpoint(endpoint, models, assessment) for endpoint in endpoints]
        items += [_model(model, assessment) for name, model in models.items() if name not in served]
        behind += [item for item in items if isinstance(item, Behind)]
        current += items.count(True)
    return Usage(tuple(behind), current, assessment.unknown)


def _is_withdrawn(item: RepositoryItem) -> bool:
    """Whether a rollback took an alias away from it; one that names it again was promoted once more."""
    tags = item.listed.tags
    return any(tag.endswith(WITHDRAWN) and tag.removesuffix(WITHDRAWN) not in tags for tag in tags)


def _model(model: Model, assessment: Assessment) -> Behind | bool:
    """What is behind; else whether it runs an image of ours at all."""
    standings = _standings(model.images, assessment)
    late = next((standing for standing in standings.values() if standing.reasons), None)
    if late is None:
        return bool(standings)
    renewed = _renewed(model, standings)
    commands = (_create_model(renewed, model.region),) if renewed and late.newest else ()
    return Behind(Kind.MODEL, model.name, model.region, late, commands, _advice(late, bool(commands)))


def _endpoint(endpoint: Endpoint, models: Mapping[str, Model], assessment: Assessment) -> Behind | bool:
    """Judged by the digests that it runs, where SageMaker tells them: a tag may have moved since it was started."""
    its_models = [models[name] for name in endpoint.models if name in models]
    running = [image for image in endpoint.images if image.digest] or [*endpoint.images]
    standings = _standings(running or [image for model in its_models for image in model.images], assessment)
    late = next((standing for standing in standings.values() if standing.reasons), None)
    if late is None:
        return bool(standings)
    commands = _commands(endpoint, its_models, late, assessment)
    return Behind(Kind.ENDPOINT, endpoint.name, endpoint.region, late, commands, _advice(late, bool(commands)))


def _commands(endpoint: Endpoint, models: Sequence[Model], late: Standing, assessment: Assessment) -> tuple[str, ...]:
    """None where a model is gone or names no image of its own: what it was made of cannot be known then."""
    if late.newest is None or not endpoint.request or len(models) < len(endpoint.models) or not models:
        return ()
    renewed = {model.name: _renewed(model, _standings(model.images, assessment)) for model in models}
    created = [_create_model(request, endpoint.region) for request in renewed.values() if request]
    names = {name: str(request["ModelName"]) for name, request in renewed.items() if request}
    name = _successor(endpoint.config, late.newest)
    config: dict[str, Any] = json.loads(json.dumps(endpoint.request, default=str))
    for variant in (*config.get("ProductionVariants", ()), *config.get("ShadowProductionVariants", ())):
        variant["ModelName"] = names.get(variant.get("ModelName", ""), variant.get("ModelName", ""))
    config["EndpointConfigName"] = name
    return (
        *created,
        _cli(endpoint.region, "create-endpoint-config", "--cli-input-json", json.dumps(config)),
        _cli(endpoint.region, "update-endpoint", "--endpoint-name", endpoint.name, "--endpoint-config-name", name),
    )


def _standings(images: Sequence[ImageReference], assessment: Assessment) -> dict[ImageReference, Standing]:
    judged = {image: assessment.standing(image) for image in images}
    return {image: standing for image, standing in judged.items() if standing}


def _renewed(model: Model, standings: Mapping[ImageReference, Standing]) -> Mapping[str, Any] | None:
    """The request that makes the model on newer images, under a name of its own; None where none is newer."""
    newer_ones = {str(image): standing.newest for image, standing in standings.items() if standing.newest}
    request: dict[str, Any] = json.loads(json.dumps(model.request, default=str))
    taken: list[ImageReference] = []
    for container in (request.get("PrimaryContainer"), *request.get("Containers", ())):
        newest = newer_ones.get(str((container or {}).get("Image", "")))
        if container and newest:
            container["Image"] = str(newest)
            taken.append(newest)
    return {**request, "ModelName": _successor(model.name, taken[0])} if taken else None


def _create_model(request: Mapping[str, Any], region: str) -> str:
    return _cli(region, "create-model", "--cli-input-json", json.dumps(request))


def _cli(region: str, *words: str) -> str:
    return shlex.join(["aws", "sagemaker", words[0], "--region", region, *words[1:]])


def _successor(name: str, image: ImageReference) -> str:
    """`name` with 8 digits of the image's digest behind it, in the place of those of an earlier update."""
    ending = f"-{image.digest.removeprefix('sha256:')[:8]}"
    return _OWN_ENDING.sub("", name)[: _LONGEST_NAME - len(ending)].rstrip("-") + ending


def _advice(late: Standing, known: bool) -> str:
    name = f" --image {shlex.quote(late.provenance.image)}" if late.provenance.image not in ("", "default") else ""
    if late.untested:
        return f"xgbpatch promote {late.untested} --alias TAG, then ask again: no newer image has passed test-local."
    if late.newest is None:
        return f"xgbpatch rebuild{name}, then ask again: there is no newer image yet."
    if not known:
        return f"Its model or its configuration is gone, or names a model package: make one with {late.newest}."
    return f"That image stands on an old base itself: xgbpatch rebuild{name} first." if late.stale_too else ""
