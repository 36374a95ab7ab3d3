"""The build context: a deterministic tar, so that equal patches give the engine equal bytes."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from xgbpatch import layout
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
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, _member("Dockerfile"), dockerfile.encode())
        for folder in _folders(patch):
            member = _member(folder)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
        for file in patch.files:
            member = _member(_inside(file.target))
            member.mode = 0o755 if file.executable else 0o644
            _add(archive, member, file.read())
    stream.flush()


def _add(archive: tarfile.TarFile, member: tarfile.TarInfo, content: bytes) -> None:
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _member(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)  # its defaults are owner 0:0, mode 0644 and time 0
    member.mtime = 0
    return member


def _folders(patch: Patch) -> list[str]:
    found = {CONTEXT_FOLDER}
    for file in patch.files:
        parts = _inside(file.target).split("/")[:-1]
        found.update("/".join(parts[: depth + 1]) for depth in range(len(parts)))
    return sorted(found)


def _inside(target: str) -> str:
    return CONTEXT_FOLDER + target.removeprefix(layout.ROOT)
