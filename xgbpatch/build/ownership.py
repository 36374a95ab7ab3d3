"""Proof that an image holds only what its labels say: our layers, our variables, and the base below them.

Compared by diff IDs, the digests of the uncompressed layers: `docker push` may compress a layer anew, which changes
the blob and not the layer. Everything that the image has beyond its base must be what `io.xgbpatch.patch-digest`
covers.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from xgbpatch import cache, layout, provenance
from xgbpatch.errors import BaseImageError, ConfigurationError, ContractError, XgbpatchError
from xgbpatch.oci import layer_tar, manifest
from xgbpatch.oci.image import RemoteImage
from xgbpatch.oci.manifest import Descriptor
from xgbpatch.patch.compose import digest_of, files_digest_of
from xgbpatch.provenance import Provenance
from xgbpatch.reference import ImageReference
from xgbpatch.registry import Services
from xgbpatch.registry.blobs import BlobStore
from xgbpatch.registry.client import find_image

_PARENTS = frozenset({"/", "/.", "/opt"})
_PIECE = 1 << 16
_REBUILD = "Rebuild it from its spec: xgbpatch build."
_COINCIDENCES = 2  # variables that a patch may set to the very value its base has
_MOST_VARIABLES = 200  # of an image; official ones have 40, and pairs of them are tried
_File = tuple[str, bool, str]  # in a layer of ours: its absolute path, whether it is executable, its content's sha256


@dataclass(frozen=True)
class OwnLayer:
    """A layer of ours: its blob, and the digest of its uncompressed bytes as the configuration tells it."""

    blob: Descriptor
    diff_id: str


@dataclass(frozen=True)
class OwnedImage:
    """An image, and the base that its labels name and that its first layers were found to be."""

    image: RemoteImage
    base: RemoteImage
    provenance: Provenance

    @property
    def layers(self) -> tuple[OwnLayer, ...]:
        """Those beyond the base's, with Docker's media types."""
        count = len(self.base.diff_ids)
        blobs = manifest.repaired(self.image.manifest).layers[count:]
        return tuple(OwnLayer(blob, diff_id) for blob, diff_id in zip(blobs, self.image.diff_ids[count:], strict=True))


@dataclass(frozen=True)
class PatchContents:
    """What a patch consists of: its variables, and the base's modules that it replaces."""

    environment: Mapping[str, str]
    replaced: tuple[str, ...]


def prove(services: Services, image: RemoteImage, base: ImageReference | None = None) -> None:
    """See that `image` is what its labels say, the content of its layers too; raises as `verify_ownership` and
    `patch_contents`.

    Layers are read once: the cache keeps the digests of manifests that have passed, and a digest names one content.
    """
    digest = image.manifest.digest
    record = services.cache / "proven" / f"{digest.removeprefix('sha256:')}.json.gz"
    if cache.read(record, lambda document: document["image"] == digest):
        return
    services.progress.line(f"Comparing what {image.reference} adds with its labels")
    patch_contents(services, verify_ownership(services, image, base))
    cache.write(record, {"image": digest})


def doubt(services: Services, image: RemoteImage) -> str:
    """Why it is not proved that `image` is what its labels say, in words; empty where it is. Nothing is raised."""
    try:
        prove(services, image)
    except XgbpatchError as error:
        return error.message
    return ""


def verify_ownership(services: Services, image: RemoteImage, base: ImageReference | None = None) -> OwnedImage:
    """`image` beside its base; from manifests and configurations alone. `base` names the base where the caller knows it
    under another name than the labels.

    Raises `ContractError` where it does not stand on that base, `ConfigurationError` where it cannot say, and
    `BaseImageError` where the base is gone.
    """
    labels = image.provenance
    if labels is None or not labels.files_digest or not labels.patch_digest:
        older = "was not made by xgbpatch" if labels is None else "was made by an xgbpatch that kept too little of it"
        raise ConfigurationError(f'"{image.reference}" {older}', "Build an image from a spec first: xgbpatch build.")
    name = base or labels.base
    if name is None:
        raise ConfigurationError(
            f'the labels of "{image.reference}" name no base in a registry: "{labels.base_name}" with the digest '
            f'"{labels.base_digest}"',
            _REBUILD,
        )
    base_image = find_image(services.registry, name, image.architecture or "amd64")
    if base_image is None:
        raise BaseImageError(f'the base "{name}" is gone: nothing is left to compare the image with', _REBUILD)
    faults = list(_contradictions(image, base_image))
    if faults:
        raise ContractError(
            f'"{image.reference}" does not stand on the base it claims, "{name}": {"; ".join(faults)}', _REBUILD
        )
    return OwnedImage(image, base_image, labels)


def patch_contents(services: Services, owned: OwnedImage) -> PatchContents:
    """What the patch consists of, read from its layers, of which nothing is kept but the list of their files.

    Raises `ContractError` where it is not what the labels say, or a layer is not what its configuration says, or holds
    anything but files below `/opt/xgbpatch`; `RegistryError` and `BaseImageError` where a layer's bytes are wrong.
    """
    blobs = services.blobs_of(owned.image.reference)
    files = {file[0]: file for layer in owned.layers for file in _files(blobs, layer)}  # a later layer wins
    digest = f"sha256:{files_digest_of(sorted(files.values()))}"
    if digest != owned.provenance.files_digest:
        raise ContractError(
            f'the files that "{owned.image.reference}" adds are not those that its label names: "{digest}" instead of '
            f'"{owned.provenance.files_digest}"',
            _REBUILD,
        )
    folder = f"{layout.REPLACEMENTS}/"
    replaced = [target.removeprefix(folder) for target in sorted(files) if target.startswith(folder)]
    return PatchContents(_environment(owned), tuple(name.removesuffix(".py") for name in replaced))


def _contradictions(image: RemoteImage, base: RemoteImage) -> Iterator[str]:
    count = len(base.diff_ids)
    for one in (image, base):
        if len(one.layers) != len(one.diff_ids):
            yield f"its configuration tells of {len(one.diff_ids)} layers and its manifest of {len(one.layers)}"
    if image.diff_ids[:count] != base.diff_ids:
        yield "the base's layers are not its first layers"
    elif len(image.diff_ids) == count:
        yield "it has no layer beyond the base's"
    own, basic = image.summary, base.summary
    for name in sorted({*own.settings, *basic.settings}):
        if own.settings.get(name) != basic.settings.get(name):
            yield f'"{name}" is not the base\'s'
    for name in sorted(set(basic.environment) - set(own.environment)):
        yield f'the base\'s variable "{name}" is missing'
    for name in sorted({*own.labels, *basic.labels} - provenance.LABELS):
        if own.labels.get(name) != basic.labels.get(name) and not name.startswith(layout.LABEL_PREFIX):
            yield f'the label "{name}" is not the base\'s'


def _environment(owned: OwnedImage) -> Mapping[str, str]:
    """The patch's variables: those that differ from the base's, and which the patch digest covers.

    A patch may also set a variable to what the base has; which one, only the digest tells.
    """
    base, image, labels = owned.base.environment, owned.image.environment, owned.provenance
    own = {name: value for name, value in image.items() if base.get(name) != value}
    equal = sorted(set(image) - set(own)) if len(image) <= _MOST_VARIABLES else ()
    files = labels.files_digest.removeprefix("sha256:")
    for count in range(_COINCIDENCES + 1):
        for names in combinations(equal, count):
            variables = {**own, **{name: image[name] for name in names}}
            if f"sha256:{digest_of(files, variables)}" == labels.patch_digest:
                return variables
    shown = ", ".join(sorted(own)[:20])
    raise ContractError(
        f'the variables of "{owned.image.reference}" are not those that xgbpatch gave it ({shown})',
        _REBUILD,
    )


def _files(blobs: BlobStore, layer: OwnLayer) -> Iterator[_File]:
    plain = hashlib.sha256()
    try:
        with blobs.opened(layer.blob.digest) as pieces, layer_tar.opened(pieces, layer.blob, plain) as opened:
            for member in opened.members():
                yield from _member(opened.archive, member, layer)
    except BaseImageError as error:
        raise BaseImageError(error.message, _REBUILD) from error
    if f"sha256:{plain.hexdigest()}" != layer.diff_id:
        raise ContractError(
            f'layer "{layer.blob.digest}" unpacks to "sha256:{plain.hexdigest()}", and the configuration says '
            f'"{layer.diff_id}"'
        )


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo, layer: OwnLayer) -> Iterator[_File]:
    path = "/" + member.name.removeprefix("./").rstrip("/")
    readable = path.encode("utf-8", "replace").decode() == path  # what is no UTF-8 has no digest
    inside = readable and (path == layout.ROOT or path.startswith(f"{layout.ROOT}/"))
    if member.isdir() and (inside or path in _PARENTS):
        return
    content = archive.extractfile(member) if member.isreg() and inside and ".." not in path.split("/") else None
    if content is None:
        raise ContractError(
            f'layer "{layer.blob.digest}" holds "{path}", which xgbpatch did not put there',
            "The image was changed after xgbpatch made it: rebuild it from its spec.",
        )
    total = hashlib.sha256()
    while piece := content.read(_PIECE):
        total.update(piece)
    yield path, bool(member.mode & 0o100), total.hexdigest()
