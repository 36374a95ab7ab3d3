"""Hatch's hook: the native library is compiled when a wheel is built, and for an editable install."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NativeLibrary(BuildHookInterface):
    """Git ignores the libraries, so they are named as artifacts."""

    def dependencies(self) -> list[str]:
        """The compiler, 400 MB unpacked, where it has something to do."""
        return [f"ziglang=={self._build['ZIG']}"] if self._build["needs_compiler"]() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """`version` is "standard" or "editable"; `build_data` is what Hatch will pack."""
        self._build["build"]()
        build_data["artifacts"].append("/xgbpatch/overlays/native/*.so")

    @property
    def _build(self) -> dict[str, Any]:
        """What `xgbpatch.native.build` holds; the package is not installed yet."""
        return runpy.run_path(str(Path(self.root, "xgbpatch", "native", "build.py")))
