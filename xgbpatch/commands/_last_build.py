"""Which image a command without IMAGE means: the one that the last `build` in this folder put into the engine.

What was built is remembered in the cache, by the absolute path of the configuration file, or of the folder where there
is none: each has a last build of its own. The file is found as `build` finds it, and flags of that build do not matter.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xgbpatch import cache
from xgbpatch.commands import _context
from xgbpatch.commands._options import working_folder
from xgbpatch.errors import ConfigurationError

if TYPE_CHECKING:
    from xgbpatch.commands._options import Selection
    from xgbpatch.engine.client import Engine
    from xgbpatch.engine.types import LocalImage
    from xgbpatch.progress import Progress

_SHOWN = 20


@dataclass(frozen=True)
class BuiltImage:
    """Its name and its ID in the engine."""

    name: str
    id: str


def remember(selection: Selection, images: Sequence[BuiltImage]) -> None:
    """Keep what a `build` made, so far as it came; one that put nothing into the engine made none."""
    place = _place(selection)
    cache.write(_record(place), {"place": str(place), "images": [[image.name, image.id] for image in images]})


def image(engine: Engine, selection: Selection, progress: Progress) -> tuple[LocalImage, str]:
    """The image of the last build, and what to call it: its name, or its ID where that names another image by now. That
    is said aloud.

    Raises `ConfigurationError`, which lists what there is, where no build is known, where it made several images, and
    where its image is gone.
    """
    from xgbpatch.provenance import SPEC_DIGEST

    place = _place(selection)
    built = cache.read(_record(place), lambda document: _images(document, place)) or []
    if len(built) == 1:
        found = engine.image(built[0].id)
        if found is not None:
            name = built[0].name if built[0].name in found.tags else found.id
            progress.line(f'Image: {name}, the last build of "{place}"')
            return found, name
    if built:
        names = ", ".join(image.name for image in built)
        what = f'the last build of "{place}" made {names}' + (", which is gone" if len(built) == 1 else "")
    else:
        what = f'no build of "{place}" is known'
    held = [name for each in engine.images(SPEC_DIGEST) for name in each.tags or (each.id,)]
    more = [f"and {len(held) - _SHOWN} more"] if len(held) > _SHOWN else []
    raise ConfigurationError(
        f"no IMAGE is named, and {what}",
        "\n  ".join(["Name one of those that the engine holds, the newest first:", *held[:_SHOWN], *more])
        if held
        else "Run `xgbpatch build` first, or name an IMAGE.",
    )


def _place(selection: Selection) -> Path:
    return Path(os.path.realpath(selection.file() or working_folder()))


def _record(place: Path) -> Path:
    name = hashlib.sha256(os.fsencode(place)).hexdigest()
    return _context.cache_folder() / "last-build" / f"{name}.json.gz"


def _images(document: Any, place: Path) -> list[BuiltImage]:
    if document["place"] != str(place):
        raise ValueError("of another place")
    return [BuiltImage(str(name), str(identifier)) for name, identifier in document["images"]]
