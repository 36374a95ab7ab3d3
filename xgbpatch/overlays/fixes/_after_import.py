"""Work on a module of the base at the moment when it has been imported, and before its importer goes on."""

from __future__ import annotations

import sys
from typing import Any, Callable


def run(name: str, work: Callable[[Any], None]) -> None:
    """Call `work(module)` once the module `name` has been executed; at once where it is imported already."""
    if name in sys.modules:
        work(sys.modules[name])
    else:
        sys.meta_path.insert(0, _Finder(name, work))


class _Finder(object):
    """Finds one module, once, through the finders after it (`importlib.abc.MetaPathFinder`)."""

    def __init__(self, name: str, work: Callable[[Any], None]):
        self._name = name
        self._work = work

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]  # that of six 1.15 has none
        specs = (finder.find_spec(fullname, path, target) for finder in finders)
        spec: Any = next((spec for spec in specs if spec is not None), None)
        if spec is not None:
            execute = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                execute(module)
                self._work(module)

            spec.loader.exec_module = exec_module
        return spec
