"""The patch's files as members of a tar: sorted, owner 0:0, modes 0644 and 0755, all times zero."""

from __future__ import annotations

import io
import tarfile
from typing import IO, Protocol, cast

from xgbpatch import layout
from xgbpatch.patch import Patch


class Sink(Protocol):
    """Takes bytes in order; it need not seek."""

    def write(self, data: bytes, /) -> int: ...


def writer(stream: Sink) -> tarfile.TarFile:
    """A tar to be written to `stream`, in the one format that all of ours have."""
    return tarfile.open(fileobj=cast("IO[bytes]", stream), mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 16)


def add_patch(archive: tarfile.TarFile, patch: Patch, folder: str) -> None:
    """Add the patch's folders, `folder` in the place of `/opt/xgbpatch`, and then its files, read in pieces."""
    for name in _folders(patch, folder):
        member = _member(name)
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(member)
    for file in patch.files:
        member = _member(_inside(file.target, folder))
        member.mode = 0o755 if file.executable else 0o644
        member.size = file.size
        with file.opened() as content:
            archive.addfile(member, content)


def add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add one more file."""
    member = _member(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _member(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)  # its defaults are owner 0:0, mode 0644 and time 0
    member.mtime = 0
    return member


def _folders(patch: Patch, folder: str) -> list[str]:
    found = {folder}
    for file in patch.files:
        parts = file.target.removeprefix(f"{layout.ROOT}/").split("/")[:-1]
        found.update("/".join([folder, *parts[: depth + 1]]) for depth in range(len(parts)))
    return sorted(found)


def _inside(target: str, folder: str) -> str:
    return folder + target.removeprefix(layout.ROOT)
