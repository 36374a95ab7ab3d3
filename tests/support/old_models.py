"""Models of the zoo, written by the xgboost of an older image, from the environments that `convert-model` keeps."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from xgbpatch.conversion.xgboosts import Environment, release
from xgbpatch.progress import Silent

CACHE = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xgbpatch"
)  # the user's: half a gigabyte each
ZOO = Path(__file__).parent / "overlays"


def environment(version: str) -> Environment:
    return Environment.provide(release(version), CACHE, Silent())


def write(version: str, folder: Path, *names: str) -> dict[str, Path]:
    """name → the file of that model, in the form that the version's training writes."""
    python = environment(version)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [str(python.folder), str(ZOO)]
    script = f"import sys; sys.path[:0] = {paths!r}; import zoo; zoo.main({[str(folder), *names]!r})"
    subprocess.run(
        [str(python.interpreter), "-I", "-W", "ignore", "-c", script], check=True, stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return {name: folder / name / "xgboost-model" for name in names}
