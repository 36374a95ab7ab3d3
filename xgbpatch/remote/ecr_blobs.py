"""Blobs of an ECR repository: by ECR's own calls, since its HTTP API loses data that comes in several pieces.

(aws/containers-roadmap issue 2831)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import BoundedSemaphore

from xgbpatch.aws import EcrLayers
from xgbpatch.errors import RegistryError
from xgbpatch.reference import ImageReference
from xgbpatch.registry_patience import Patience
from xgbpatch.registry_session import RegistrySession
from xgbpatch.remote.blobs import Upload, UploadLost
from xgbpatch.remote.http_blobs import HttpBlobs
from xgbpatch.remote.resumption import continued

_PART_BYTES = (
    5 << 20
)  # the least ECR takes (but for the last): boto3 holds a part several times over, as base64 in JSON
_ENCODING = BoundedSemaphore(2)  # for the same reason


class EcrBlobs:
    """The repository of `reference`; `http` speaks with the same one for what ECR's calls lack.

    Raises nothing but `AwsError` and `RegistryError`.
    """

    def __init__(self, reference: ImageReference, layers: EcrLayers, session: RegistrySession) -> None:
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

    def __init__(self, layers: EcrLayers, patience: Patience) -> None:
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
