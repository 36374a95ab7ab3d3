"""The patch as one image layer, the same bytes for the same patch: no day, no user and no machine shows in it.

The digest of the layer's content (`diff_id`) depends on the patch alone. The digest of the compressed blob does so too
up to `STORED_BYTES`, since such a layer is stored and not compressed; above, it depends on zlib's deflate as well.
`SOURCE_DATE_EPOCH` has nothing to say here: times are zero, as in the layer that the engine's builder copies.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO

from xgbpatch import archive, layout
from xgbpatch.archive import Sink
from xgbpatch.errors import BuildError
from xgbpatch.manifest import DOCKER_LAYER, Descriptor
from xgbpatch.patch import Patch
from xgbpatch.remote.gzip_stream import GzipWriter

STORED_BYTES = 4 << 20  # an overlay without packages has a tenth of it; one with daal4py is worth compressing
_MEMORY_BYTES = 32 << 20


@dataclass(frozen=True)
class Layer:
    """A layer that lasts as long as the block of `made`: gzip by its descriptor, plain by its `diff_id`."""

    descriptor: Descriptor
    diff_id: str
    _content: IO[bytes] = field(repr=False, compare=False)

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """The compressed bytes from their beginning, seekable; for one reader at a time."""
        self._content.seek(0)
        yield self._content


@contextmanager
def made(patch: Patch) -> Iterator[Layer]:
    """The patch's files and the folders below `/opt` that hold them; nothing above, because that is the base's.

    Held in memory up to 32 MiB, else in a temporary file that vanishes with the block. Raises `BuildError` when the
    layer cannot be written.
    """
    stream = tempfile.SpooledTemporaryFile(_MEMORY_BYTES, prefix="xgbpatch-layer-")  # noqa: SIM115 — closed below
    try:
        layer = _written(stream, patch)
    except OSError as error:
        with suppress(OSError):  # closing writes what is left, which fails on a full disk again
            stream.close()
        raise BuildError(
            f'the layer could not be written to "{tempfile.gettempdir()}": {error.strerror or error}',
            "Free some space there, or set TMPDIR to a folder with room.",
        ) from error
    with stream:
        yield layer


def _written(stream: IO[bytes], patch: Patch) -> Layer:
    compressed = _Hashed(stream)
    packed = GzipWriter(compressed, stored=sum(file.size for file in patch.files) <= STORED_BYTES)
    plain = _Hashed(packed)
    with archive.writer(plain) as tar:
        archive.add_patch(tar, patch, layout.ROOT.removeprefix("/"))
    packed.finish()
    stream.flush()
    return Layer(Descriptor(compressed.digest, DOCKER_LAYER, compressed.size), plain.digest, stream)


class _Hashed:
    """Passes bytes on, and knows their number and digest."""

    def __init__(self, target: Sink) -> None:
        self._target = target
        self._sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes, /) -> int:
        self._sha256.update(data)
        self.size += len(data)
        return self._target.write(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._sha256.hexdigest()}"
