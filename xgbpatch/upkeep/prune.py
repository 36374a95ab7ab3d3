"""Which images of a repository may be deleted: superseded by newer ones, and in use nowhere. Deciding deletes nothing.

Every doubt keeps an image. Labels are inherited by whatever is built on an image, so they alone neither delete one nor
count for one that supersedes another: both must be proved to be ours (`build.ownership`). What belongs to an image
names it as its subject, and a copied base has a tag that only the scan gate gives. An image's artifacts go before it,
those of an artifact before that: cut off in between, the next run finds what is left and ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice

from xgbpatch.aws.sagemaker import ResourceKind, SageMaker, Use
from xgbpatch.errors import AwsError
from xgbpatch.oci.image import RemoteImage
from xgbpatch.oci.manifest import Manifest
from xgbpatch.provenance import Provenance
from xgbpatch.publish.push import INCOMING
from xgbpatch.publish.scan_gate import BASE_TAG
from xgbpatch.reference import ImageReference
from xgbpatch.spec import DEFAULT_TAG
from xgbpatch.upkeep.repository import ListedImage, Repository, RepositoryItem, newer


@dataclass(frozen=True)
class Rules:
    """`keep`: how many of the newest versions of each image stay, at least one. `before`: only what is older goes.
    `patterns`: of version tags, beside the default one (`Spec.tag`)."""

    keep: int = 3
    before: datetime | None = None
    patterns: tuple[str, ...] = ()


Doubt = Callable[[RemoteImage], str]  # why an image is not proved to be ours; empty where it is


@dataclass(frozen=True)
class PruneVerdict:
    """Whether `item` goes, and why (not)."""

    item: RepositoryItem
    deleted: bool
    why: str

    @property
    def digest(self) -> str:
        return self.item.listed.digest


def uses(sagemaker: SageMaker) -> Iterator[Use]:
    """Everything in this region that needs an image; raises `AwsError` where that cannot be told."""
    models = sagemaker.models()
    for model in models:
        if model.lost:
            raise AwsError(
                f'it cannot be told which image the model "{model.name}" in {model.region} runs',
                f"Its model package {model.lost[0]} is gone: delete the model, or make it anew.",
            )
        yield Use(ResourceKind.MODEL, model.name, model.region, model.images)
    names = {model.name for model in models}
    for endpoint in sagemaker.endpoints():  # one whose images SageMaker does not tell must at least have all its models
        if not endpoint.images and not (endpoint.models and names.issuperset(endpoint.models)):
            raise AwsError(
                f'it cannot be told which image the endpoint "{endpoint.name}" in {endpoint.region} runs',
                "Its models are gone, and SageMaker names no image: update or delete the endpoint first.",
            )
        yield Use(ResourceKind.ENDPOINT, endpoint.name, endpoint.region, endpoint.images)
    yield from sagemaker.other_uses()


def in_use(place: ImageReference, items: Iterable[RepositoryItem], used: Iterable[Use]) -> dict[str, Use]:
    """Digests in the repository of `place` that something needs, by digest itself or by a tag that names it now."""
    tags = {tag: item.listed.digest for item in items for tag in item.listed.tags}
    used_digests: dict[str, Use] = {}
    for use in used:
        for image in use.images:
            same_registry = image.ecr == place.ecr if place.ecr else image.host == place.host
            digest = image.digest or tags.get(image.tag or "latest", "")
            if digest and same_registry and image.repository == place.repository:
                used_digests.setdefault(digest, use)
    return used_digests


def decide(
    items: Sequence[RepositoryItem], used: Mapping[str, Use], rules: Rules, doubt: Doubt
) -> tuple[PruneVerdict, ...]:
    """A verdict on everything in one repository: images first, then what belongs to them. `doubt` is asked of images
    that would go, and of those that supersede them."""
    own = {item.listed.digest: _on_image(item, items, used, rules, doubt) for item in items if item.provenance}
    roots = {digest: own.get(chain[-1]) for digest, chain in _chains(items).items()}
    return tuple(
        own.get(item.listed.digest) or _on_other(item, used, roots[item.listed.digest], own.values()) for item in items
    )


def freed(verdicts: Sequence[PruneVerdict]) -> int:
    """Bytes of blobs that nothing needs after the deletion; layers that a kept image shares stay."""
    needed = {digest for verdict in verdicts if not verdict.deleted for digest in _blobs(verdict.item.manifest)}
    sizes = {
        key: size for verdict in verdicts if verdict.deleted for key, size in _blobs(verdict.item.manifest).items()
    }
    return sum(size for digest, size in sizes.items() if digest not in needed)


def delete(where: Repository, verdicts: Sequence[PruneVerdict]) -> Iterator[tuple[str, str]]:
    """Carry the verdicts out: the digest of each that says delete, and why it was not deleted (empty: it is gone).

    Before every step the tags are looked at once more: an image stays, with all that belongs to it and is still there,
    when one of these has got or lost a tag since, or could not be deleted.
    """
    doomed = [verdict for verdict in verdicts if verdict.deleted]
    chains = _chains(verdict.item for verdict in verdicts)
    root = {digest: chain[-1] for digest, chain in chains.items()}
    stays: dict[str, str] = {}
    for step in _steps(doomed, chains, where):
        moved = _moved(doomed, where.listed())
        stays |= {root[digest]: "its tags have changed meanwhile" for digest in moved}
        batch = [verdict for verdict in step if root[verdict.digest] not in stays]
        yield from ((verdict.digest, stays[root[verdict.digest]]) for verdict in step if verdict not in batch)
        failures = where.delete([verdict.item.listed for verdict in batch]) if batch else {}
        not_deleted = [verdict.digest for verdict in batch if verdict.digest in failures]
        stays |= {root[digest]: "something that belongs to it could not be deleted" for digest in not_deleted}
        yield from ((verdict.digest, failures.get(verdict.digest, "")) for verdict in batch)


def is_version_tag(tag: str, provenance: Provenance, patterns: Iterable[str]) -> bool:
    """Whether xgbpatch gave the image this tag when it was made; patterns without a digest name no single image."""
    fields = {
        "version": provenance.version,
        "base": provenance.base_digest.removeprefix("sha256:")[:12],
        "spec": provenance.spec_digest.removeprefix("sha256:")[:8],
    }
    exact = [pattern for pattern in (DEFAULT_TAG, *patterns) if "{base}" in pattern or "{spec}" in pattern]
    return tag in {pattern.format(**fields) for pattern in exact}


def _on_image(
    item: RepositoryItem, items: Sequence[RepositoryItem], used: Mapping[str, Use], rules: Rules, doubt: Doubt
) -> PruneVerdict:
    origin = item.provenance
    assert origin is not None, "the caller asks for images of ours only"
    digest = item.listed.digest
    if digest in used:
        return PruneVerdict(item, False, f"used by {used[digest]}")
    own = [tag for tag in item.listed.tags if tag.startswith(INCOMING) or is_version_tag(tag, origin, rules.patterns)]
    aliases = [tag for tag in item.listed.tags if tag not in own]
    if aliases:
        return PruneVerdict(item, False, f'alias "{aliases[0]}" names it')
    whole = next((index for index in items if digest in index.parts), None)
    if whole is not None:
        return PruneVerdict(item, False, f'part of the index "{", ".join(whole.listed.tags) or whole.listed.digest}"')
    return _on_age(item, newer(item, items), rules, doubt)


def _on_age(item: RepositoryItem, later: Sequence[RepositoryItem], rules: Rules, doubt: Doubt) -> PruneVerdict:
    """Layers are read only of an image that would go, and of as many later ones as it takes."""
    is_young = rules.before is not None and not (item.when and item.when < rules.before)
    if len(later) >= rules.keep and not is_young:
        if item.image and (why := doubt(item.image)):
            return PruneVerdict(item, False, f"not proved to be what its labels say: {why}")
        later = list(islice((other for other in later if other.image and not doubt(other.image)), rules.keep))
    if len(later) < rules.keep:
        return PruneVerdict(item, False, f"among the newest {rules.keep}" if later else "the newest of its image")
    if rules.before and is_young:
        return PruneVerdict(item, False, f"not older than {rules.before:%Y-%m-%d %H:%M}")
    return PruneVerdict(item, True, f"superseded by {_name(later[0])}")


def _on_other(
    item: RepositoryItem, used: Mapping[str, Use], root: PruneVerdict | None, own: Iterable[PruneVerdict]
) -> PruneVerdict:
    if item.listed.digest in used:
        return PruneVerdict(item, False, f"used by {used[item.listed.digest]}")
    if root is not None:
        fate = "goes" if root.deleted else "stays"
        return PruneVerdict(item, root.deleted, f"belongs to {_name(root.item)}, which {fate}")
    if item.listed.tags and all(tag.startswith(BASE_TAG) for tag in item.listed.tags):
        bases = [
            verdict.item.provenance.base_digest for verdict in own if verdict.item.provenance and not verdict.deleted
        ]
        needed = any(BASE_TAG + digest.removeprefix("sha256:")[:12] in item.listed.tags for digest in bases)
        return PruneVerdict(
            item, not needed, f"a base that {'an image here stands' if needed else 'no image stands'} on"
        )
    return PruneVerdict(item, False, "not made by xgbpatch")


def _chains(items: Iterable[RepositoryItem]) -> dict[str, tuple[str, ...]]:
    """From each digest to what it belongs to in the end: a signature may belong to an SBOM that belongs to an image."""
    subjects = {item.listed.digest: item.subject for item in items}
    chains = {}
    for digest in subjects:
        chain = [digest]
        while (subject := subjects.get(chain[-1], "")) and subject not in chain:
            chain.append(subject)
        chains[digest] = tuple(chain)
    return chains


def _steps(
    doomed: Sequence[PruneVerdict], chains: Mapping[str, tuple[str, ...]], where: Repository
) -> list[list[PruneVerdict]]:
    """What belongs to something goes before it. ECR deletes no part from under its index, so that goes before its
    parts; elsewhere the index is all that tells of them, and goes after."""
    index_first = where.place.ecr is not None

    def rank(verdict: PruneVerdict) -> tuple[int, bool]:
        return -len(chains[verdict.digest]), verdict.item.manifest.is_index != index_first

    return [list(step) for _, step in groupby(sorted(doomed, key=rank), rank)]


def _moved(doomed: Sequence[PruneVerdict], images: Iterable[ListedImage]) -> Iterator[str]:
    """Digests with other tags than when they were judged, or whose tags are on something else now."""
    now = {one.digest: set(one.tags) for one in images}
    tags_now = {tag for tags in now.values() for tag in tags}
    for verdict in doomed:
        digest, tags = verdict.digest, set(verdict.item.listed.tags)
        if now[digest] != tags if digest in now else tags & tags_now:
            yield digest


def _blobs(manifest: Manifest) -> dict[str, int]:
    if manifest.is_index:
        return {}
    parts = (manifest.config, *manifest.layers) if manifest.document.get("config") else manifest.layers
    return {part.digest: part.size for part in parts}


def _name(item: RepositoryItem) -> str:
    return f'"{item.listed.tags[0] if item.listed.tags else item.listed.digest}"'
