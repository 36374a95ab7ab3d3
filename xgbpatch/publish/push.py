"""Pushing: a tag in a registry never names anything that is incomplete or that SageMaker refuses.

The sequence, and why it has no bad moment:

1. The repository is made sure of (ECR only), and the tag is looked at first. It holds this very image, by its content:
   "up to date", nothing is sent. It holds another: refused, a version tag never moves.
2. The engine sends the layers, the configuration and, last and in one step, the manifest. The classic image store
   writes the Docker manifest that SageMaker takes, so it goes straight to the tag. containerd's store writes an OCI
   one: there the engine pushes to a throw-away tag `xgbpatch-incoming-<random>`. (Not always there: lifecycle and
   replication rules see every tag, and to remove one takes a permission that a pushing role seldom has.)
3. The manifest is read back by digest, verified and held to `oci.manifest.complaints`; a wrong one is written anew.
   The tag is looked at once more where nothing has been put under it yet.
4. The right manifest is put under the tag, if it is not there already. One PUT: the tag is either absent or right.
5. Where an alias has to move, the scan gate (`xgbpatch.publish.scan_gate`), if one is given, looks at the image first.
6. The aliases move after that, untested, each by a PUT of the same manifest; what it named before is remembered first
   (`xgbpatch.publish.aliases`).

`Publisher.publish` ends with 4: from then on the image stands, and its name has to be told however the rest ends.

However that ends (failure, SIGINT, SIGTERM), the local name and the throw-away tag are removed again. A killed push
leaves blobs without a name at most, which registries collect.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from xgbpatch import provenance
from xgbpatch.aws import AwsRegion, RepositoryOptions
from xgbpatch.build import ownership, verify
from xgbpatch.engine.client import Engine
from xgbpatch.engine.types import LocalImage
from xgbpatch.errors import BaseImageError, ConfigurationError, ContractError, RegistryError, XgbpatchError
from xgbpatch.oci import manifest as oci_manifest
from xgbpatch.oci.image import RemoteImage
from xgbpatch.oci.manifest import Manifest
from xgbpatch.publish import aliases as publish_aliases
from xgbpatch.publish import ensure_repository
from xgbpatch.reference import ImageReference
from xgbpatch.registry import Services
from xgbpatch.registry.client import load_image

INCOMING = "xgbpatch-incoming-"
Gate = Callable[[ImageReference | None, ImageReference], None]  # the base and the image; raises what keeps aliases back


@dataclass(frozen=True)
class PushRequest:
    """An image and where it goes: `destination` has host, repository and tag; `aliases` are tags that may move.

    `options` apply where an ECR repository is missing; `manifest_gate` holds the manifest to what SageMaker accepts.
    `proof`: the aliases were chosen by the image's labels, and move only where its content is proved to be theirs.
    """

    image: LocalImage
    destination: ImageReference
    aliases: tuple[str, ...] = ()
    options: RepositoryOptions = field(default_factory=RepositoryOptions)
    manifest_gate: bool = True
    proof: bool = False


@dataclass(frozen=True)
class PushResult:
    """Where an image stands now: `reference` has tag and digest. `up_to_date` means that nothing had to be sent;
    `repaired` that the engine's manifest was written anew for SageMaker."""

    reference: ImageReference
    up_to_date: bool = False
    repaired: bool = False
    aliases: tuple[ImageReference, ...] = ()


class Publisher:
    """Pushes from one engine to any registry; `gate` stands before aliases."""

    def __init__(self, engine: Engine, services: Services, gate: Gate | None = None) -> None:
        self._engine = engine
        self._services = services
        self._registry = services.registry
        self._progress = services.progress
        self._gate = gate

    def push(self, request: PushRequest) -> PushResult:
        """Push one image, as the module's docstring says; raises what `publish` and `move_aliases` do."""
        return self.move_aliases(request, self.publish(request))

    def publish(self, request: PushRequest) -> PushResult:
        """Put the image under its version tag; raises `RegistryError`, `AwsError` or `EngineError`."""
        for name in request.aliases:
            publish_aliases.alias_reference(request.destination, name)  # refused before anything is sent
        if not request.image.tags:  # the name it gets for the push would be its last, and go with the image
            raise ConfigurationError(
                f'image "{request.image.id}" has no name in the engine',
                f"docker tag {request.image.id[7:19]} NAME:TAG",
            )
        if ensure_repository(request.destination, request.options):
            self._progress.line(f'created repository "{request.destination.name}"')
        present = self._present(request)
        if present is None:
            manifest, repaired = self._send(request)
        else:
            manifest, repaired = self._fit(present, request)
            if repaired:
                self._registry.put_manifest(request.destination, manifest)
        reference = request.destination.with_digest(manifest.digest)
        self._progress.line(f'"{reference}" {"is up to date" if present else "was pushed"}')
        return PushResult(reference, present is not None, repaired)

    def move_aliases(self, request: PushRequest, published: PushResult) -> PushResult:
        """Move the aliases of `request` to what was published; raises `RegistryError`, `ContractError` where it is not
        proved to be what its labels say, and what the gate raises: no alias has moved then."""
        digest = published.reference.digest
        places = [request.destination.with_tag(alias) for alias in request.aliases]
        digests = {place: head.digest for place in places if (head := self._registry.head(place))}
        behind = [place for place in places if digests.get(place) != digest]
        if request.proof and behind and not verify.has_passed(self._services.cache, request.image):
            image = load_image(self._registry, published.reference)
            if why := ownership.doubt(self._services, image):
                raise ContractError(
                    f'no alias moves: "{published.reference}" is not proved to be what its labels say: {why}',
                    "Where you know what it is, name the alias: --alias TAG.",
                )
        if self._gate and behind:
            labels = provenance.read(request.image.labels)
            self._gate(labels.base if labels else None, published.reference)
        for alias in behind:
            publish_aliases.move_alias(self._registry, alias, self._registry.manifest(published.reference))
            self._progress.line(f'alias "{alias}" points to "{digest}"')
        return replace(published, aliases=tuple(place.with_digest(digest) for place in places))

    def _present(self, request: PushRequest) -> Manifest | None:
        """The manifest under the tag where it is this very image, None where the tag is free."""
        manifest = self._registry.find(request.destination)
        difference = self._difference(manifest, request) if manifest else ""
        if manifest is None or not difference:
            return manifest
        raise RegistryError(
            f'the tag "{request.destination}" already holds another image, "{manifest.digest}": {difference}',
            "A version tag never moves: choose another --tag, or name a moving one with --alias.",
        )

    def _difference(self, manifest: Manifest, request: PushRequest) -> str:
        """In what the image of `manifest` is another than that of `request`; empty where it is the same one.

        It is by its ID, and by layers and configuration. Layers of a rebuild differ by their times: then both must have
        been held to the same labels, the local one by the build that made it, the other by its layers' content.
        """
        if manifest.is_index:
            return "it is an index"
        config = self._registry.config(request.destination, manifest)
        present = RemoteImage(request.destination.with_digest(manifest.digest), manifest, config)
        own = request.image.summary
        same = request.image.id in (manifest.digest, manifest.config.digest)
        if not same and not own.is_configured_as(present.summary):
            return "its settings, variables or labels are others"
        if same or own.layers == present.summary.layers:
            return ""
        if not verify.has_passed(self._services.cache, request.image):
            return (
                f'its layers are others, and the local "{request.image.id}" was not built and verified here, '
                "by what the cache folder keeps"
            )
        try:
            ownership.prove(self._services, present)
        except (BaseImageError, ConfigurationError, ContractError) as error:
            return f"its layers are others: {error.message}"
        return ""

    def _send(self, request: PushRequest) -> tuple[Manifest, bool]:
        """Send the image and put the right manifest under its tag; returns that, and whether it had to be repaired."""
        destination = landing = request.destination
        if self._engine.information().containerd_store:
            landing = destination.with_tag(INCOMING + secrets.token_hex(6))
        with self._pushed(request.image, landing) as digest:
            uploaded = self._registry.manifest(landing.with_digest(digest))
            manifest, repaired = self._fit(uploaded, request)
            if landing != destination and (present := self._present(request)):  # minutes have passed
                return present, False
            if repaired or landing != destination:
                self._registry.put_manifest(destination, manifest)
        return manifest, repaired

    @contextmanager
    def _pushed(self, image: LocalImage, landing: ImageReference) -> Iterator[str]:
        """The digest that `image` got in the registry; a throw-away tag is gone afterwards, as is the local name."""
        try:
            with self._named(image, landing):
                digest = self._engine.push(landing, self._registry.credentials_for(landing), self._progress)
            yield digest
        finally:
            if landing.tag.startswith(INCOMING):
                with self._cleanup(f'remove the tag "{landing}"'):
                    ecr = landing.ecr
                    if not self._registry.remove_tag(landing) and not (
                        ecr and AwsRegion(ecr.region).remove_tag(ecr.account, landing.repository, landing.tag)
                    ):
                        raise RegistryError("this registry cannot remove a tag")

    @contextmanager
    def _named(self, image: LocalImage, name: ImageReference) -> Iterator[None]:
        """Call `image` by `name` in the engine for a while; an image that had the name before gets it back."""
        before = self._engine.image(name)
        try:
            self._engine.tag(image.id, name)
            yield
        finally:
            owner = before.id if before else ""
            with self._cleanup(f'take back the local name "{name}" (docker rmi {name})'):
                if owner != image.id:  # to remove it forgets the digest it got, too
                    self._engine.remove(name)
                if owner:
                    self._engine.tag(owner, name)

    @contextmanager
    def _cleanup(self, what: str) -> Iterator[None]:
        """A deletion that fails is reported as progress, and does not replace the error that ended the push."""
        try:
            yield
        except XgbpatchError as error:
            self._progress.line(f"could not {what}: {error.message}")

    def _fit(self, manifest: Manifest, request: PushRequest) -> tuple[Manifest, bool]:
        """The manifest that SageMaker takes, and whether it is a new one; with the gate off, the one that came."""
        complaints = oci_manifest.complaints(manifest) if request.manifest_gate else ()
        if not complaints:
            return manifest, False
        self._progress.line(f"SageMaker would refuse the manifest, so it is written anew: {'; '.join(complaints)}")
        return oci_manifest.repaired(manifest), True


def push(engine: Engine, request: PushRequest, services: Services) -> PushResult:
    """Push `request`: what `xgbpatch push` does for one destination, as a call."""
    return Publisher(engine, services).push(request)


def ecr_destination(account: str, region: str, name: ImageReference) -> ImageReference:
    """Where `name` (repository and tag) stands in `account`'s registry of `region`."""
    return replace(name, host=AwsRegion(region).registry_host(account))
