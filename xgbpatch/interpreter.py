"""Running a Python script inside an image, on the interpreter that its `serve` command uses."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Literal, TypeVar

from xgbpatch import probe
from xgbpatch.engine.client import Engine
from xgbpatch.engine.failures import EngineGoneError
from xgbpatch.engine.values import LocalImage, Run
from xgbpatch.errors import BaseImageError, EngineError

Answer = TypeVar("Answer")

# The shebang of `serve` names the interpreter that serves; PATH may hold others. $0 is the script's text.
_FIND_AND_RUN = """
serve=$(command -v serve) || { echo 'no command "serve" on PATH' >&2; exit 90; }
read -r line < "$serve"
case "$line" in '#!'*python*) python=${line#??};; *) python=$(command -v python || command -v python3);; esac
[ -n "$python" ] || { echo 'no Python interpreter' >&2; exit 91; }
exec $python -B -c "$0"
"""


def run_python(engine: Engine, image: str, script: str) -> str:
    """What `script` printed on stdout; raises `BaseImageError` with its stderr when it failed. No network is given."""
    run = Run(image, ("-c", _FIND_AND_RUN, script), entrypoint=("/bin/sh",), network="none")
    try:
        completed = engine.run(run)
    except EngineGoneError:
        raise
    except EngineError as error:
        raise BaseImageError(f'"{image}" cannot be run here: {error.message}', error.next_step) from error
    if completed.exit_code != 0:
        detail = completed.stderr.strip().splitlines()[-5:]
        raise BaseImageError(
            f'"{image}" is no SageMaker XGBoost image that runs here (exit {completed.exit_code}): {"; ".join(detail)}',
            "Name an official image or one built on it; for another architecture install binfmt support.",
        )
    return completed.stdout


def run_probe(
    engine: Engine, image: LocalImage, name: Literal["facts", "inventory"], parse: Callable[[str], Answer]
) -> Answer:
    """What `parse` makes of the answer of a probe script; it raises `ValueError` or `zlib.error` for any other text.

    Raises `BaseImageError` where it does, and as `run_python`.
    """
    text = run_python(engine, image.id, probe.source(name))
    try:
        return parse(text)
    except (ValueError, RecursionError, zlib.error) as error:
        first = next(iter(text.strip().splitlines()), "")
        raise BaseImageError(
            f'"{(*image.tags, image.id)[0]}" cannot be inspected: its Python printed "{first[:80]}" on stdout',
            "Something in the image prints when Python starts (a sitecustomize, a .pth file): let it print on stderr.",
        ) from error
