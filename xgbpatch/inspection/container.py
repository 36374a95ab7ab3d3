"""Facts and files of an image, by running it once; kept by digest, because a digest never changes its content."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from xgbpatch import cache, layout
from xgbpatch.engine.client import Engine, EngineGoneError
from xgbpatch.engine.types import LocalImage, Run
from xgbpatch.errors import BaseImageError, EngineError
from xgbpatch.inspection import facts as inspection_facts
from xgbpatch.inspection import probe
from xgbpatch.inspection.facts import Facts

Answer = TypeVar("Answer")
_SECONDS = 600  # for a script; another architecture is emulated


# The shebang of `serve` names the interpreter that serves; PATH may hold others. $0 is a script's text.
_FIND = """
serve=$(command -v serve) || { echo 'no command "serve" on PATH' >&2; exit 90; }
read -r line < "$serve"
case "$line" in '#!'*python*) python=${line#??};; *) python=$(command -v python || command -v python3);; esac
[ -n "$python" ] || { echo 'no Python interpreter' >&2; exit 91; }
"""
FIND_AND_RUN = f'{_FIND}exec $python -B -c "$0"'
_FIND_AND_RUN_EACH = f"""{_FIND}for script in "$0" "$@"; do $python -B -c "$script" || exit; printf '\\0'; done"""


def run_python(engine: Engine, image: str, script: str) -> str:
    """What `script` printed on stdout; raises `BaseImageError` with its stderr when it failed. No network is given."""
    answers, error = run_each(engine, image, script)
    if error:
        raise error
    return answers[0]


def run_each(engine: Engine, image: str, *scripts: str) -> tuple[list[str], BaseImageError | None]:
    """What scripts printed on stdout, up to a NUL byte, each run by a Python of its own, one after another in one
    container without a network; up to the first that failed, and its error, with its stderr.

    Raises `BaseImageError` where the image cannot be run.
    """
    run = Run(image, ("-c", _FIND_AND_RUN_EACH, *scripts), entrypoint=("/bin/sh",), network="none")
    try:
        completed = engine.run(run, _SECONDS * len(scripts))
    except EngineGoneError:
        raise
    except EngineError as error:
        raise BaseImageError(f'"{image}" cannot be run here: {error.message}', error.next_step) from error
    *answers, _ = completed.stdout.split("\0", len(scripts))
    if completed.exit_code == 0:
        return answers, None
    detail = completed.stderr.strip().splitlines()[-5:]
    return answers, BaseImageError(
        f'"{image}" is no SageMaker XGBoost image that runs here (exit {completed.exit_code}): {"; ".join(detail)}',
        "Name an official image or one built on it; for another architecture install binfmt support.",
    )


def probe_source(name: str) -> str:
    """The text of a probe script, to be handed to an interpreter in a container."""
    return files(probe).joinpath(f"{name}.py").read_text(encoding="utf-8")


def _mark(name: str) -> str:
    """Eight hexadecimal digits of the script's text, for the names of kept answers: another script, another answer."""
    return hashlib.sha256(probe_source(name).encode()).hexdigest()[:8]


def parsed(image: LocalImage, answer: str, parse: Callable[[str], Answer]) -> Answer:
    """What `parse` makes of the answer of a probe script; it raises `ValueError` or `zlib.error` for any other text.

    Raises `BaseImageError` where it does.
    """
    try:
        return parse(answer)
    except (ValueError, RecursionError, zlib.error) as error:
        first = next(iter(answer.strip().splitlines()), "")
        raise BaseImageError(
            f'"{(*image.tags, image.id)[0]}" cannot be inspected: its Python printed "{first[:80]}" on stdout',
            "Something in the image prints when Python starts (a sitecustomize, a .pth file): let it print on stderr.",
        ) from error


# Every file of an image, listed by running it, and what differs between two such lists.


_ATTRIBUTES = 7  # of a file, see `probe/inventory.py`


@dataclass(frozen=True)
class Difference:
    """Paths that only the second list has, that only the first has, and that both have with other attributes."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    @property
    def outside(self) -> tuple[str, ...]:
        """All differences that are not additions below our own folder, each with its kind."""
        own = {layout.ROOT, *self.below}
        foreign = [f"added {path}" for path in self.added if path not in own]
        return (*foreign, *(f"removed {path}" for path in self.removed), *(f"changed {path}" for path in self.changed))

    @property
    def below(self) -> tuple[str, ...]:
        """What was added below our own folder."""
        return tuple(path for path in self.added if path.startswith(f"{layout.ROOT}/"))


def list_files(engine: Engine, image: LocalImage, folder: Path | None) -> Mapping[str, str]:
    """Path → kind, mode, owner, size, mtime, link target and sha256, joined; from the cache `folder` where it is kept.

    Raises `BaseImageError` where the image cannot be run, or its Python prints something else.
    """
    path = folder / f"{image.id.removeprefix('sha256:')}-{_mark('inventory')}.files.json.gz" if folder else None
    listing = cache.read(path, _checked)
    if listing is None:
        listing = parsed(image, run_python(engine, image.id, probe_source("inventory")), parse_inventory)
        cache.write(path, dict(listing))
    return listing


def compare_files(before: Mapping[str, str], after: Mapping[str, str]) -> Difference:
    """What changed from `before` to `after`, each list sorted."""
    return Difference(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed=tuple(sorted(path for path in before.keys() & after.keys() if before[path] != after[path])),
    )


def parse_inventory(answer: str) -> Mapping[str, str]:
    """The probe's answer (base64 of zlib-compressed records, see `probe/inventory.py`) as path → attributes.

    Raises `ValueError` and `zlib.error` for anything else.
    """
    text = zlib.decompress(base64.b64decode(answer, validate=True)).decode("utf-8", "surrogateescape")
    return _checked(dict(line.split("\0", 1) for line in text.split("\0\0")))


def _checked(document: Any) -> Mapping[str, str]:
    """A listing: seven attributes for every path, and no image is empty."""
    if not (isinstance(document, dict) and document):
        raise ValueError("not a list of files")
    for path, attributes in document.items():
        if not path.startswith("/") or type(attributes) is not str or attributes.count("\0") != _ATTRIBUTES - 1:
            raise ValueError(f'not a file of an image: "{path}"')
    listing: Mapping[str, str] = document
    return listing


def inspect(engine: Engine, image: LocalImage, folder: Path | None) -> Facts:
    """The facts of `image`, from the cache `folder` where it was inspected before.

    Raises `BaseImageError` that lists all that is missing when it is no SageMaker XGBoost image.
    """
    path = folder / f"{image.id.removeprefix('sha256:')}-{_mark('facts')}.json.gz" if folder else None
    document = cache.read(path, inspection_facts.parse)
    if document is None:
        document = parsed(image, run_python(engine, image.id, probe_source("facts")), parse_facts)
        cache.write(path, document)
    facts = inspection_facts.facts_of(document, image.id, image.environment, image.labels)
    inspection_facts.refuse_incomplete((*image.tags, image.id)[0], facts)
    return facts


def parse_facts(answer: str) -> Mapping[str, Any]:
    """The probe's answer as the document that `inspection.facts.facts_of` takes; raises `ValueError` for another."""
    return inspection_facts.parse(json.loads(answer))


def as_document(facts: Facts) -> dict[str, Any]:
    """The facts for `inspect --json`: all but the modules' text."""
    document = asdict(facts)
    document["top_levels"] = sorted(facts.top_levels)
    for module in document["modules"].values():
        del module["source"]
    return document
