"""The newest image of a spec in its repository, found in the registry alone.

An image is the spec's where its label `io.xgbpatch.image` names it; one made before there was that label counts only
where nothing better is there. Which is the newest:

1. Aliases of the spec that all name one image, which is what would be built now: that one, and nothing else is asked.
   Not while a rollback holds an alias back: what it was taken away from may be newer by its packages alone.
2. Else tags of the spec's pattern are read (with the images of its aliases, and those it was taken away from), those
   that name the present base first, then those of the same version, then the rest: the first of these groups that holds
   an image of the spec decides.
3. In a group: what would be built now comes first, then the latest `created`, then the highest versions of its packages
   (the registry's builder gives every image of one base the same `created`), then the last tag by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from string import Formatter

from packaging.version import InvalidVersion, Version

from xgbpatch.build.definition import asked_digest
from xgbpatch.build.resolve import Base
from xgbpatch.oci.image import RemoteImage
from xgbpatch.oci.manifest import DOCKER_CONFIG, OCI_CONFIG
from xgbpatch.patch.compose import overlay_digest
from xgbpatch.provenance import Provenance
from xgbpatch.publish import aliases
from xgbpatch.reference import ImageReference
from xgbpatch.registry.client import Registry
from xgbpatch.spec import Spec

_READERS = 8
_FIELDS = {"version": r"[\w.-]+?", "base": r"[0-9a-f]+", "spec": r"[0-9a-f]+"}
_CONFIGURATIONS = (DOCKER_CONFIG, OCI_CONFIG)


class _Share(Enum):
    """What an image has in common with what the spec asks for today, the most promising first."""

    BASE = 1
    VERSION = 2
    NOTHING = 3


def newest(registry: Registry, place: ImageReference, spec: Spec, base: Base) -> RemoteImage | None:
    """The newest image of `spec` in the repository of `place`, or None. Raises `RegistryError` and `AwsError`."""
    choice = _Choice(spec, base)
    names = [place.with_tag(alias) for alias in spec.aliases]
    aliased, left = _read(registry, names), _left(registry, names)
    together = len(aliased) == len(names) and len({image.manifest.digest for image in aliased}) == 1
    if together and not left:
        labels = aliased[0].provenance
        if labels and labels.image == spec.name and choice.is_present(labels):
            return aliased[0]
    aliased += _read(registry, left)
    tags = choice.shared_out(registry.tags(place))
    for share in _Share:
        images = _read(registry, [place.with_tag(tag) for tag in tags[share]])
        known = {image.manifest.digest for image in images}  # by their version tags, which say more
        rest = [image for image in aliased if image.manifest.digest not in known]
        best = choice.best([*images, *(image for image in rest if choice.share_of(image) is share)])
        if best:
            return best
    return None


def stragglers(registry: Registry, place: ImageReference, spec: Spec, image: RemoteImage) -> tuple[str, ...]:
    """The aliases of `spec` that do not name `image`."""
    with ThreadPoolExecutor(_READERS) as pool:
        heads = list(pool.map(registry.head, [place.with_tag(alias) for alias in spec.aliases]))
    pairs = zip(spec.aliases, heads, strict=True)
    return tuple(alias for alias, head in pairs if head is None or head.digest != image.manifest.digest)


def _left(registry: Registry, names: Sequence[ImageReference]) -> list[ImageReference]:
    """What the last rollback took these aliases away from, by the tags that remember it."""
    with ThreadPoolExecutor(_READERS) as pool:
        digests = list(pool.map(lambda alias: aliases.withdrawn_digest(registry, alias), names))
    pairs = zip(names, digests, strict=True)
    return [aliases.memory_tag(alias, aliases.WITHDRAWN) for alias, digest in pairs if digest]


def _read(registry: Registry, references: Sequence[ImageReference]) -> list[RemoteImage]:
    """Those that are images."""
    with ThreadPoolExecutor(_READERS) as pool:
        return [image for image in pool.map(lambda reference: _image(registry, reference), references) if image]


def _image(registry: Registry, reference: ImageReference) -> RemoteImage | None:
    """None for an index and for what is no image: xgbpatch puts neither under a version tag."""
    manifest = registry.find(reference)
    if manifest is None or manifest.is_index or manifest.config.media_type not in _CONFIGURATIONS:
        return None
    return RemoteImage(reference.with_digest(manifest.digest), manifest, registry.config(reference, manifest))


class _Choice:
    """Which of several images, for one spec on its present base."""

    def __init__(self, spec: Spec, base: Base) -> None:
        self._name = spec.name
        self._version = spec.version
        self._base = base.reference.digest
        self._pattern = _pattern(spec.tag)
        self._present = (self._base, asked_digest(spec), f"sha256:{overlay_digest()}")

    def is_present(self, provenance: Provenance) -> bool:
        """Whether a build of today would differ in nothing but its packages."""
        return (provenance.base_digest, provenance.asked_digest, provenance.overlay_digest) == self._present

    def shared_out(self, tags: Sequence[str]) -> Mapping[_Share, list[str]]:
        """The tags of the spec's pattern."""
        shares: dict[_Share, list[str]] = {share: [] for share in _Share}
        for tag in tags:
            match = self._pattern.fullmatch(tag)
            if match:
                fields = match.groupdict()
                shares[self._share(fields.get("version", self._version), fields.get("base", ""))].append(tag)
        return shares

    def share_of(self, image: RemoteImage) -> _Share:
        labels = image.provenance
        return self._share(labels.version, labels.base_digest.removeprefix("sha256:")) if labels else _Share.NOTHING

    def _share(self, version: str, base: str) -> _Share:
        """`base`: hexadecimal digits with which a digest begins."""
        if version != self._version:
            return _Share.NOTHING
        return _Share.BASE if self._base.removeprefix("sha256:").startswith(base) else _Share.VERSION

    def best(self, images: Sequence[RemoteImage]) -> RemoteImage | None:
        """The newest of the spec's own."""
        labelled = [(image, image.provenance) for image in images]
        own = [(image, labels) for image, labels in labelled if labels and labels.image == self._name]
        unnamed = [(image, labels) for image, labels in labelled if labels and not labels.image]
        candidates = own or unnamed
        return max(candidates, key=lambda item: self._rank(*item))[0] if candidates else None

    def _rank(
        self, image: RemoteImage, provenance: Provenance
    ) -> tuple[bool, str, tuple[tuple[str, Version], ...], str]:
        return self.is_present(provenance), provenance.created, _packages(provenance), image.reference.tag


def _packages(provenance: Provenance) -> tuple[tuple[str, Version], ...]:
    packages = []
    for package in sorted(provenance.packages):
        name, _, version = package.partition("==")
        try:
            packages.append((name, Version(version)))
        except InvalidVersion:
            packages.append((name, Version("0")))
    return tuple(packages)


def _pattern(text: str) -> re.Pattern[str]:
    """What tags of a tag pattern look like; a field that comes twice says the same twice."""
    parts: list[str] = []
    known: set[str] = set()
    for literal, name, _, _ in Formatter().parse(text):
        parts.append(re.escape(literal))
        if name in _FIELDS:
            parts.append(f"(?P={name})" if name in known else f"(?P<{name}>{_FIELDS[name]})")
            known.add(name)
    return re.compile("".join(parts))
