"""ECR spoken to by its own calls, and any other registry by the HTTP API: which one is chosen by the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from threading import BoundedSemaphore

from xgbpatch.aws import EcrRepositoryApi
from xgbpatch.errors import RegistryError
from xgbpatch.oci.manifest import Manifest
from xgbpatch.reference import ImageReference
from xgbpatch.registry.blobs import BlobStore, HttpBlobs, Upload, UploadLost, continued
from xgbpatch.registry.client import Registry
from xgbpatch.registry.http import RetryPolicy
from xgbpatch.registry.keychain import Keychain
from xgbpatch.registry.transport import RegistrySession

# The least ECR takes (but for the last): boto3 holds a part several times over, as base64 in JSON.
_PART_BYTES = 5 << 20
_ENCODING = BoundedSemaphore(2)  # for the same reason


class EcrBlobs:
    """The repository of `reference`; `http` speaks with the same one for what ECR's calls lack.

    Raises nothing but `AwsError` and `RegistryError`.
    """

    def __init__(self, reference: ImageReference, layers: EcrRepositoryApi, session: RegistrySession) -> None:
        self.reference = reference
        self._layers = layers
        self._session = session
        self._http = HttpBlobs(reference, session)

    def has(self, digest: str) -> bool:
        return self._layers.has(digest)

    @contextmanager
    def opened(self, digest: str, offset: int = 0) -> Iterator[Iterator[bytes]]:
        """By a presigned URL, a new one for each try: they expire."""
        patience = self._session.patience()
        with closing(
            continued(lambda at: self._http.opened_once(self._layers.url(digest), at), offset, patience)
        ) as all_:
            yield all_

    def mount(self, digest: str, source: ImageReference) -> bool:
        """Within one account and region; ECR refuses where encryption differs or the account has not switched it on."""
        try:
            return self._http.mount(digest, source)
        except RegistryError:
            return False

    def begin(self, size: int) -> Upload:
        return EcrUpload(self._layers, self._session.patience())


class EcrUpload:
    """ECR has no call that gives an upload up: it forgets one by itself."""

    piece_bytes = _PART_BYTES

    def __init__(self, layers: EcrRepositoryApi, patience: RetryPolicy) -> None:
        self._layers = layers
        self._patience = patience
        self._upload = layers.begin()
        self._stands = 0

    def send(self, piece: bytes) -> None:
        """One part; boto3 has tried several times when this raises `AwsError`."""
        goal = self._stands + len(piece)
        while True:
            with _ENCODING:
                now = self._layers.send(self._upload, self._stands, piece)
            if now == goal:
                break
            if now != self._stands or not self._patience.wait():
                raise UploadLost(f"ECR has {now or 0} bytes of an upload and should have {goal}", "Try again.")
        self._stands = goal
        self._patience.progressed()

    def finish(self, digest: str) -> None:
        """ECR verifies the digest."""
        if not self._layers.finish(self._upload, digest) and not self._layers.has(digest):
            raise UploadLost(f'ECR no longer knows the upload of "{digest}"', "Try again.")

    def cancel(self) -> None:
        """Nothing to do: what is not finished is not there."""


# Which way a registry is spoken to: ECR by its own calls, any other by the HTTP API.


def blob_store_for(registry: Registry, keychain: Keychain) -> Callable[[ImageReference], BlobStore]:
    """Blobs by repository; connections and authorizations are the registry's."""

    def blobs_of(reference: ImageReference) -> BlobStore:
        layers = _layers(keychain, reference)
        return EcrBlobs(reference, layers, registry.session) if layers else HttpBlobs(reference, registry.session)

    return blobs_of


def _layers(keychain: Keychain, reference: ImageReference) -> EcrRepositoryApi | None:
    door = keychain.amazon(reference)
    return door.layers(reference.ecr.account, reference.repository) if door and reference.ecr else None


class EcrAwareRegistry(Registry):
    """The HTTP API, with `PutImage` in the place of its PUT where a manifest goes to ECR."""

    def __init__(self, keychain: Keychain) -> None:
        super().__init__(keychain)
        self._keychain = keychain

    def put_manifest(self, reference: ImageReference, manifest: Manifest) -> ImageReference:
        """As everywhere; raises `AwsError` too, and `RegistryError` for an immutable tag that is taken."""
        layers = _layers(self._keychain, reference)
        if layers is None:
            return super().put_manifest(reference, manifest)
        if not layers.put(manifest, reference.tag):
            raise RegistryError(
                f'"{reference.name}:{reference.tag}" is another image already, and the tags of this repository are '
                "immutable",
                "Choose another tag.",
            )
        return reference.with_digest(manifest.digest)
