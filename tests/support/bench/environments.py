"""The environments that scripts/overlay-tests keeps, and the models of the benchmark."""

from __future__ import annotations

import fcntl
import functools
import os
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

from support import old_models
from xgbpatch.bench import models as recipes
from xgbpatch.cache import sha256_of
from xgbpatch.layout import OVERLAY_PACKAGE

ROOT = Path(__file__).resolve().parents[3]
MAKER = "1.5-1"  # what its xgboost writes, all six versions read


@functools.cache
def _overlay_tests() -> Any:
    loader = SourceFileLoader("overlay_tests", str(ROOT / "scripts" / "overlay-tests"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


def suite(version: str) -> Any:
    """The `Suite` of a version, its environment complete."""
    tests = _overlay_tests()
    suite = tests.suite_of(version)
    with tests.alone(suite.folder.with_name(suite.folder.name + ".lock")):
        if not (suite.folder / "complete").exists():
            tests.prepare(suite)
    return suite


def environment(version: str, library: Path) -> dict[str, str]:
    """The variables of a process of that version; the overlays are linked into `library`."""
    link = library / OVERLAY_PACKAGE
    if not link.is_symlink():
        link.symlink_to(ROOT / "xgbpatch" / "overlays")
    tests = _overlay_tests()
    return dict(tests.environment(suite(version), (str(tests.SOURCE), str(library))))


def models(names: list[str]) -> dict[str, Path]:
    """Folders of the benchmark's models by name, made once and kept beside the environments."""
    maker = old_models.environment(MAKER)
    folder = old_models.CACHE / "overlay-tests" / "bench-models"
    folder.mkdir(parents=True, exist_ok=True)
    script = Path(recipes.__file__)
    target = folder / f"{MAKER}-{sha256_of(script)[:12]}"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [str(maker.interpreter), "-W", "ignore", str(script), str(target), *names]
        variables = {**os.environ, "PYTHONPATH": str(maker.folder)}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=variables)
    return {name: target / name for name in names}
