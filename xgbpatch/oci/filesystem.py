"""Layers seen as the one file tree that a container has: overlayfs's rules and OCI's whiteouts, without unpacking.

A layer hides what older layers hold at a path by a whiteout, by anything but a folder, or by an opaque folder; folders
of several layers are one. A folder that a layer implies only (it has members, no entry) counts as one of its folders.
"""

from __future__ import annotations

import posixpath
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from xgbpatch.errors import BaseImageError
from xgbpatch.oci.layer_index import IMPLIED, Entry, EntryKind, LayerIndex
from xgbpatch.oci.layer_tar import NEXT_STEP

_MOST_LINKS = 40  # Linux follows as many and no more (ELOOP)


@dataclass(frozen=True)
class FileTree:
    """The tree of `layers`, newest first: of a whole image, or of what its newest layers alone make up.

    Paths are absolute. What is asked about a path follows symbolic links, unless it says otherwise.
    """

    layers: tuple[LayerIndex, ...]
    _stacks: dict[str, tuple[tuple[LayerIndex, Entry], ...]] = field(default_factory=dict, compare=False, repr=False)

    def resolve(self, path: str) -> str:
        """The path without links, as `realpath` gives it; empty where nothing stands there."""
        left = deque(_parts(path))
        real = ""
        links = 0
        while left:
            name = left.popleft()
            if name == ".":
                continue
            if name == "..":
                real = posixpath.dirname(real)
                continue
            entry = self._entry(posixpath.join(real, name))
            if entry is None or (left and entry.kind not in (EntryKind.FOLDER, EntryKind.SYMLINK)):
                return ""
            if entry.kind is not EntryKind.SYMLINK:
                real = posixpath.join(real, name)
                continue
            links += 1
            if links > _MOST_LINKS:
                return ""
            left.extendleft(reversed(_parts(entry.link)))
            real = "" if entry.link.startswith("/") else real
        return f"/{real}"

    def entry(self, path: str) -> Entry | None:
        """What stands at the path, or None."""
        resolved = self.resolve(path)
        return self._entry(resolved[1:]) if resolved else None

    def is_file(self, path: str) -> bool:
        """Whether a regular file stands there."""
        return _is(self.entry(path), EntryKind.FILE)

    def is_folder(self, path: str) -> bool:
        """Whether a folder stands there."""
        return _is(self.entry(path), EntryKind.FOLDER)

    def is_link(self, path: str) -> bool:
        """Whether the path itself, its last name not followed, is a symbolic link."""
        folder, name = posixpath.split(path)
        resolved = self.resolve(folder)
        return bool(resolved) and _is(self._entry(posixpath.join(resolved, name)[1:]), EntryKind.SYMLINK)

    def list(self, path: str) -> tuple[str, ...]:
        """The names in the folder, sorted; none where there is no folder."""
        resolved = self.resolve(path)
        if not resolved:
            return ()
        names: set[str] = set()
        for layer, _ in self._stack(resolved[1:]):
            names.update(layer.children.get(resolved[1:], ()))
        return tuple(sorted(name for name in names if self._entry(posixpath.join(resolved[1:], name))))

    def read(self, path: str) -> bytes:
        """The content of a file, as far as its layer's index keeps it (see `kept`).

        Raises `BaseImageError` where it keeps none: only the engine can tell then.
        """
        resolved = self.resolve(path)[1:]
        stack = self._stack(resolved) if resolved else ()
        if not stack or resolved not in stack[0][0].contents:
            raise BaseImageError(f'the content of "{path}" cannot be told from the layers of the image', NEXT_STEP)
        return stack[0][0].contents[resolved]

    def _entry(self, path: str) -> Entry | None:
        stack = self._stack(path)
        return stack[0][1] if stack else None

    def _stack(self, path: str) -> tuple[tuple[LayerIndex, Entry], ...]:
        """What the layers hold at `path` (relative, no link followed), newest first, down to what hides the rest."""
        stack = self._stacks.get(path)
        if stack is None:
            stack = self._stacks[path] = tuple(self._stacked(path))
        return stack

    def _stacked(self, path: str) -> Iterator[tuple[LayerIndex, Entry]]:
        layers: Iterable[LayerIndex] = self.layers
        if path:  # those that add to its folder
            parent = self._stack(posixpath.dirname(path))
            layers = (layer for layer, entry in parent if entry.kind is EntryKind.FOLDER)
        for layer in layers:
            entry = layer.entries.get(path) if path else IMPLIED
            if entry is not None:
                yield layer, entry
            hidden = entry is not None and (entry.kind is not EntryKind.FOLDER or path in layer.opaque)
            if hidden or path in layer.whiteouts:
                return


def _parts(path: str) -> list[str]:
    """A slash at the end asks for a folder, as `.` behind it would."""
    names = [name for name in path.split("/") if name]
    return [*names, "."] if names and path.endswith("/") else names


def _is(entry: Entry | None, kind: EntryKind) -> bool:
    return entry is not None and entry.kind is kind
