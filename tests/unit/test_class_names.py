"""One name, one meaning: a class name stands in one module of xgbpatch."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "xgbpatch"
TEST_DOUBLE = PACKAGE / "standin" / "source"  # its names are those of AWS's packages

TWICE = {
    # What `explain` returns, in `xgbpatch_overlays.script_mode` inside an image and in `xgbpatch.explanation` outside.
    "Explanation": {"explanation/__init__.py", "overlays/settings.py"},
}


def test_a_class_name_stands_in_one_module():
    modules = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        if TEST_DOUBLE not in path.parents:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    modules[node.name].add(path.relative_to(PACKAGE).as_posix())
    assert {name: paths for name, paths in modules.items() if len(paths) > 1} == TWICE
