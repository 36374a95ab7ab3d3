"""The build context: a deterministic tar, so that equal patches give the engine equal bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from xgbpatch import archive
from xgbpatch.dockerfile import CONTEXT_FOLDER
from xgbpatch.errors import BuildError
from xgbpatch.patch import Patch


@contextmanager
def packed(dockerfile: str, patch: Patch) -> Iterator[IO[bytes]]:
    """An open, rewound tar of the Dockerfile and the patch's files; it vanishes with the block.

    Sorted names, owner 0:0, modes 0644 and 0755, all times zero. Raises `BuildError` when it cannot be written.
    """
    with _written(dockerfile, patch) as stream:
        stream.seek(0)
        yield stream


def _written(dockerfile: str, patch: Patch) -> IO[bytes]:
    stream: IO[bytes] | None = None
    try:
        stream = tempfile.TemporaryFile(prefix="xgbpatch-context-")  # noqa: SIM115 — closed by `packed`
        _write(stream, dockerfile, patch)
    except OSError as error:
        with suppress(OSError):  # closing writes what is left, which fails on a full disk again
            if stream is not None:
                stream.close()
        raise BuildError(
            f'the build context could not be written to "{tempfile.gettempdir()}": {error.strerror or error}',
            "Free some space there, or set TMPDIR to a folder with room.",
        ) from error
    return stream


def _write(stream: IO[bytes], dockerfile: str, patch: Patch) -> None:
    with archive.writer(stream) as tar:
        archive.add_bytes(tar, "Dockerfile", dockerfile.encode())
        archive.add_patch(tar, patch, CONTEXT_FOLDER)
    stream.flush()
