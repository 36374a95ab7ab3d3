"""Lands as `sitecustomize` where a base module is replaced: Python then finds the user's file under that name.

The base's file stays as it is. A `sitecustomize` of the base, further down the path, still runs.
"""

import importlib.machinery
import importlib.util
import os
import sys
from typing import Any

REPLACEMENTS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "replacements")


class ReplacementFinder:
    """Finds exactly the modules that have a file in the replacements folder; everything else is not its business."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        """The spec of a replaced module, or None (`importlib.abc.MetaPathFinder`)."""
        file = os.path.join(REPLACEMENTS, fullname + ".py")
        if not os.path.isfile(file):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        locations = spec.submodule_search_locations if spec else None
        return importlib.util.spec_from_file_location(fullname, file, submodule_search_locations=locations)


def run_shadowed() -> None:
    """Run the `sitecustomize` that this file hides, if the base has one."""
    own = os.path.dirname(os.path.abspath(__file__))
    rest = [entry for entry in sys.path if os.path.abspath(entry or ".") != own]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", rest)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


sys.meta_path.insert(0, ReplacementFinder())
run_shadowed()
