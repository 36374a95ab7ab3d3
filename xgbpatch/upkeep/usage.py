"""Which models and endpoints run an image of ours that has been superseded, and the AWS CLI commands that update each.

A model keeps its image for ever, so updating means a new model, a new endpoint configuration that names it, and the
endpoint moved over. The commands carry everything that CreateModel and CreateEndpointConfig were given before.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from xgbpatch.aws.sagemaker import Endpoint, ResourceKind, SageMaker, SageMakerModel
from xgbpatch.build import ownership
from xgbpatch.errors import AwsError, ConfigurationError, RegistryError
from xgbpatch.oci.image import RemoteImage
from xgbpatch.provenance import Provenance
from xgbpatch.publish import test_record
from xgbpatch.publish.aliases import WITHDRAWN
from xgbpatch.reference import ImageReference
from xgbpatch.registry import Services
from xgbpatch.registry.client import find_image
from xgbpatch.upkeep.repository import ListedImage, RepositoryItem, list_repository, newer, repository

_LONGEST_NAME = 63  # of a model and of an endpoint configuration


@dataclass(frozen=True)
class Standing:
    """An image of xgbpatch in use. `reasons` say why it is superseded, and are empty where it is not.

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

    kind: ResourceKind
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
        self._doubts: dict[str, str] = {}
        self.unknown: dict[ImageReference, str] = {}

    def standing(self, image: ImageReference) -> Standing | None:
        """None for an image of another maker, and for one that cannot be read (`unknown` says why)."""
        if image not in self._standings:
            self._standings[image] = None
            try:
                self._standings[image] = self._judged(image)
            except (AwsError, ConfigurationError, RegistryError) as error:
                self.unknown[image] = error.message
        return self._standings[image]

    @property
    def images(self) -> list[ImageReference]:
        """Those of ours that were judged so far, by digest."""
        return [standing.image for standing in self._standings.values() if standing]

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
        if (later or standing.reasons) and (why := self._doubt(remote)):
            self.unknown[image] = f"it is not proved to be what its labels say: {why}"
            return None
        return self._beside(standing, later)

    def _beside(self, standing: Standing, later: Sequence[RepositoryItem]) -> Standing:
        """The standing, with the newest of the later images; layers are read of as many as it takes."""
        proved = (item for item in later if item.image and not self._doubt(item.image))
        first = next(proved, None)
        if first is None:
            return standing
        tested = next((item for item in chain((first,), proved) if self._has_passed(item)), None)
        later_image = (tested or first).listed
        named = replace(standing.image, tag="", digest=later_image.digest)
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

    def _doubt(self, image: RemoteImage) -> str:
        """Labels are inherited by whatever is built on an image: nobody is told to leave, or to take, such a one."""
        digest = image.manifest.digest
        if digest not in self._doubts:
            self._doubts[digest] = ownership.doubt(self._services, image)
        return self._doubts[digest]

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
        creations = _Creations(sagemaker, models, assessment)
        items = [_endpoint(endpoint, models, creations) for endpoint in endpoints]
        items += [_model(model, creations) for name, model in models.items() if name not in served]
        behind += [item for item in items if isinstance(item, Behind)]
        current += items.count(True)
    return Usage(tuple(behind), current, assessment.unknown)


def _is_withdrawn(item: RepositoryItem) -> bool:
    """Whether a rollback took an alias away from it; one that names it again was promoted once more."""
    tags = item.listed.tags
    return any(tag.endswith(WITHDRAWN) and tag.removesuffix(WITHDRAWN) not in tags for tag in tags)


def _model(model: SageMakerModel, creations: _Creations) -> Behind | bool:
    """What is behind; else whether it runs an image of ours at all."""
    standings = creations.standings(model.images)
    late = next((standing for standing in standings.values() if standing.reasons), None)
    if late is None:
        return bool(standings)
    renewed = creations.model(model, f'model "{model.name}"') if late.newest else None
    advice = _advice(late, renewed is not None)
    if renewed and not renewed.command:
        advice = f'"{renewed.name}" is this model on that image, and stands already: use it, and delete this one.'
    commands = (renewed.command,) if renewed and renewed.command else ()
    return Behind(ResourceKind.MODEL, model.name, model.region, late, commands, advice)


def _endpoint(endpoint: Endpoint, models: Mapping[str, SageMakerModel], creations: _Creations) -> Behind | bool:
    """Judged by the digests that it runs, where SageMaker tells them: a tag may have moved since it was started."""
    its_models = [models[name] for name in endpoint.models if name in models]
    running = [image for image in endpoint.images if image.digest] or [*endpoint.images]
    standings = creations.standings(running or [image for model in its_models for image in model.images])
    late = next((standing for standing in standings.values() if standing.reasons), None)
    if late is None:
        return bool(standings)
    # nothing where a model is gone or names no image of its own: what it was made of cannot be known then
    known = bool(late.newest and endpoint.request and its_models) and len(its_models) == len(endpoint.models)
    steps = _steps(endpoint, its_models, late.newest, creations) if known and late.newest else ()
    others = dict.fromkeys(step.by for step in steps if step.by not in ("", _title(endpoint)))
    advice = [f"The commands of {', '.join(others)} first: they make what these name."] if others else []
    advice += filter(None, [_advice(late, known)])
    commands = tuple(step.command for step in steps if step.command)
    return Behind(ResourceKind.ENDPOINT, endpoint.name, endpoint.region, late, commands, " ".join(advice))


@dataclass(frozen=True)
class _Creation:
    """A new model or endpoint configuration, and the command that makes it: empty where it stands already, or where the
    commands of `by` (a model or an endpoint) hold it."""

    name: str
    command: str
    by: str


class _Creations:
    """What the commands of one region make: each thing once, under a name that nothing else has or gets."""

    def __init__(self, sagemaker: SageMaker, models: Mapping[str, SageMakerModel], assessment: Assessment) -> None:
        self._sagemaker = sagemaker
        self._models = models
        self._assessment = assessment
        self._planned: dict[tuple[str, str], tuple[str, str]] = {}  # by key and name: of what, and by whose commands

    def standings(self, images: Sequence[ImageReference]) -> dict[ImageReference, Standing]:
        judged = {image: self._assessment.standing(image) for image in images}
        return {image: standing for image, standing in judged.items() if standing}

    def model(self, model: SageMakerModel, by: str) -> _Creation | None:
        """The same model on newer images; None where none of its images is of ours and has a newer one."""
        standings = self.standings(model.images)
        newest = {str(image): standing.newest for image, standing in standings.items() if standing.newest}
        request = _plain(model.request)
        images: list[ImageReference] = []
        for container in (request.get("PrimaryContainer"), *request.get("Containers", ())):
            image = newest.get(str((container or {}).get("Image", "")))
            if container and image:
                container["Image"] = str(image)
                images.append(image)
        return self.create("ModelName", model.name, request, images[0], by) if images else None

    def create(self, key: str, old: str, request: Mapping[str, Any], image: ImageReference, by: str) -> _Creation:
        """The successor of what is called `old`; `key` is what a request calls a name. Its name has 8 digits of the
        image's digest at its end, in the place of an earlier update's; and a number before them where it is taken."""
        rest = {name: value for name, value in request.items() if name != key}
        number = 0
        while True:
            number += 1
            ending = f"{f'-{number}' if number > 1 else ''}-{_digits(image)}"
            name = self._stem(old)[: _LONGEST_NAME - len(ending)].rstrip("-") + ending
            source, owner = self._planned.get((key, name), ("", ""))
            if source:
                if source == old:
                    return _Creation(name, "", owner)
                continue
            standing = self._standing(key, name)
            if standing is None:
                self._planned[key, name] = old, by
                operation = "create-model" if key == "ModelName" else "create-endpoint-config"
                document = json.dumps({key: name, **rest})
                return _Creation(name, _cli(self._sagemaker.region, operation, "--cli-input-json", document), by)
            if standing == rest:
                self._planned[key, name] = old, ""
                return _Creation(name, "", "")

    def _stem(self, name: str) -> str:
        """Without the ending of an earlier update: the digits of an image that runs here, and no others, which may be
        a date."""
        for image in self._assessment.images:
            name = name.removesuffix(f"-{_digits(image)}")
        return name

    def _standing(self, key: str, name: str) -> Mapping[str, Any] | None:
        """The request, but for the name, of what the account has under that name."""
        if key == "ModelName":
            request = self._models[name].request if name in self._models else None
        else:
            request = self._sagemaker.endpoint_config(name)
        return None if request is None else {part: value for part, value in _plain(request).items() if part != key}


def _steps(
    endpoint: Endpoint, models: Sequence[SageMakerModel], newest: ImageReference, creations: _Creations
) -> tuple[_Creation, ...]:
    """The models on newer images, the configuration that names them, and the endpoint moved over."""
    by, region = _title(endpoint), endpoint.region
    renewed = {model.name: creations.model(model, by) for model in models}
    config = _plain(endpoint.request)
    for variant in (*config.get("ProductionVariants", ()), *config.get("ShadowProductionVariants", ())):
        if creation := renewed.get(variant.get("ModelName", "")):
            variant["ModelName"] = creation.name
    configuration = creations.create("EndpointConfigName", endpoint.config, config, newest, by)
    names = ("--endpoint-name", endpoint.name, "--endpoint-config-name", configuration.name)
    update = _Creation(endpoint.name, _cli(region, "update-endpoint", *names), by)
    return (*filter(None, renewed.values()), configuration, update)


def _title(endpoint: Endpoint) -> str:
    return f'endpoint "{endpoint.name}"'


def _plain(request: Mapping[str, Any]) -> dict[str, Any]:
    """A copy as JSON has it."""
    copy: dict[str, Any] = json.loads(json.dumps(request, default=str))
    return copy


def _digits(image: ImageReference) -> str:
    return image.digest.removeprefix("sha256:")[:8]


def _cli(region: str, *words: str) -> str:
    return shlex.join(["aws", "sagemaker", words[0], "--region", region, *words[1:]])


def _advice(late: Standing, known: bool) -> str:
    name = f" --image {shlex.quote(late.provenance.image)}" if late.provenance.image not in ("", "default") else ""
    if late.untested:
        return f"xgbpatch promote {late.untested} --alias TAG, then ask again: no newer image has passed test-local."
    if late.newest is None:
        return f"xgbpatch rebuild{name}, then ask again: there is no newer image yet."
    if not known:
        return f"Its model or its configuration is gone, or names a model package: make one with {late.newest}."
    return f"That image stands on an old base itself: xgbpatch rebuild{name} first." if late.stale_too else ""
