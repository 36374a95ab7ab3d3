"""The table of hooks says all that the overlays touch in the base, and every hook is there."""

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

from xgbpatch.inspection.facts import Distribution, Facts, PythonFacts, UpstreamModule
from xgbpatch.overlays import fixes as overlays_fixes
from xgbpatch.patch import hooks
from xgbpatch.patch.features import FEATURES, FIXES
from xgbpatch.patch.hooks import MISSING, Hook

ROOT = Path(hooks.__file__).parent.parent
OVERLAYS = ROOT / "overlays"
BASE = ("sagemaker_xgboost_container", "sagemaker_algorithm_toolkit")
FILES = sorted(path.relative_to(OVERLAYS).as_posix() for path in OVERLAYS.rglob("*.py"))
# Parameters that stand for modules of the base under other names than the module's own.
STANDS_FOR = {
    ("request_data.py", "parser"): (f"{BASE[0]}.encoder", f"{BASE[0]}.algorithm_mode.serve_utils"),
    ("fixes/server.py", "module"): (f"{BASE[0]}.sagemaker_containers_patch.server",),
    ("fixes/server.py", "launcher"): (f"{BASE[0]}.mms_patch.model_server",),
}
# Where the overlay begins for each feature; the rest follows from its imports.
BEGINNINGS = {
    "shap": ("single_model.py", "handler.py", "script_mode.py"),
    "daal4py": ("single_model.py", "handler.py", "script_mode.py"),
    "shap-probability": ("single_model.py", "handler.py", "script_mode.py"),
    "training": ("training/artifacts.py", "model/version_guard.py"),
    "json-input": ("single_model.py", "handler.py"),
    "fast": ("fast/command.py", "fast/main.py", "fast/worker.py"),
}


def module(text: str, path: str = "/m.py", sha256: str = "a" * 64) -> UpstreamModule:
    return UpstreamModule(path, sha256, text)


@cache
def standin() -> dict[str, UpstreamModule]:
    root, modules = ROOT / "standin" / "source", {}
    for path in sorted(root.rglob("*.py")):
        parts = [part for part in path.relative_to(root).with_suffix("").parts if part != "__init__"]
        modules[".".join(parts)] = module(path.read_text())
    return modules


class Touches(ast.NodeVisitor):
    """(module of the base, dotted name) for everything that a file of the overlay takes from the base or sets there."""

    def __init__(self, file: str, part: Sequence[str] = ()) -> None:
        """Of the whole file, or of the functions `part` of it and what they call there."""
        self.found: set[tuple[str, str]] = set()
        self._file = file
        self._known: dict[str, tuple[str, ...]] = {}
        self._texts: dict[str, str] = {}
        self._tree = ast.parse((OVERLAYS / file).read_text())
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self._texts.setdefault(node.targets[0].id, self._text(node.value))
        for node in ast.walk(self._tree):
            if isinstance(node, ast.ImportFrom | ast.Import | ast.arg):
                self.visit(node)
        self.reached = self._reached(part) if part else self._tree.body
        for node in self.reached:
            self.visit(node)

    def _reached(self, names: Sequence[str]) -> list[ast.stmt]:
        """The statements that run at import, and those that bind `names` and what they name, and so on."""
        defined = {name: node for node in self._tree.body for name in hooks.bound(node)}
        reached = [node for node in self._tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
        waiting = [*names, *(node.id for each in reached for node in ast.walk(each) if isinstance(node, ast.Name))]
        while waiting:
            node = defined.get(waiting.pop())
            if node is not None and node not in reached:
                reached.append(node)
                waiting += [inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)]
        return reached

    def uses(self) -> Iterator[tuple[str, str]]:
        """(another file of the overlay, name in it) for everything that the reached statements take from one."""
        names: dict[str, tuple[str, str]] = {}
        for node in ast.walk(self._tree):
            for item in node.names if isinstance(node, ast.ImportFrom) and node.level else ():
                folder = (OVERLAYS / self._file).parents[node.level - 1].joinpath(*(node.module or "").split("."))
                whole = folder / f"{item.name}.py"
                file, name = (whole, "") if whole.is_file() else (folder.with_suffix(".py"), item.name)
                if file.is_file():
                    names[item.asname or item.name] = (file.relative_to(OVERLAYS).as_posix(), name)
        for node in (inner for each in self.reached for inner in ast.walk(each)):
            if isinstance(node, ast.Name) and names.get(node.id, ("", ""))[1]:
                yield names[node.id]
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names:
                yield names[node.value.id][0], names[node.value.id][1] or node.attr

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for item in node.names if (node.module or "").startswith(BASE) and not node.level else ():
            whole = f"{node.module}.{item.name}"
            if whole in standin():
                self._known[item.asname or item.name] = (whole,)
            else:
                self.found.add((node.module, item.name))

    def visit_Import(self, node: ast.Import) -> None:
        assert not [item.name for item in node.names if item.name.startswith(BASE)], "write `from … import …`"

    def visit_arg(self, node: ast.arg) -> None:
        """A parameter is taken for the module whose name it has."""
        own = [name for name in standin() if name.endswith(f".{node.arg}") and name.startswith(BASE[0])]
        if node.arg in ("serve_utils", "encoder"):
            self._known.setdefault(node.arg, tuple(own))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain, inner = [node.attr], node.value
        while isinstance(inner, ast.Attribute):
            chain, inner = [inner.attr, *chain], inner.value
        if isinstance(inner, ast.Name):
            self._touch(inner.id, ".".join(chain))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """`getattr(module, "name")`, and our own functions of that form."""
        if len(node.args) > 1 and isinstance(node.args[0], ast.Name) and isinstance(node.args[1], ast.Constant):
            self._touch(node.args[0].id, str(node.args[1].value))
        self.generic_visit(node)

    def _touch(self, name: str, attribute: str) -> None:
        for owner in (*self._known.get(name, ()), *STANDS_FOR.get((self._file, name), ())):
            self.found.add((owner, attribute))

    def _text(self, node: ast.expr) -> str:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        if isinstance(node, ast.Name):
            return self._texts.get(node.id, "")
        if isinstance(node, ast.BinOp):
            return self._text(node.left) + self._text(node.right)
        return ""

    @property
    def named_modules(self) -> set[str]:
        """Modules of the base that the file names in text."""
        return {text for text in self._texts.values() if text.startswith(BASE) and text not in BASE}


def rows_of(file: str) -> list[hooks.Seam]:
    return [seam for seam in hooks.seams() if file in seam.overlays]


def covers(hook: Hook, touched: tuple[str, str]) -> bool:
    owner, name = touched
    return hook.module == owner and (name == hook.name or name.startswith(f"{hook.name}."))


@pytest.mark.parametrize("file", FILES)
def test_the_table_has_everything_that_an_overlay_touches(file):
    declared = [hook for seam in rows_of(file) for hook in seam.hooks]
    touches = Touches(file)
    missing = [touched for touched in sorted(touches.found) if not any(covers(hook, touched) for hook in declared)]
    assert not missing, f"add them to data/hooks.toml, under a section whose overlays name {file}"
    assert touches.named_modules <= {hook.module for hook in declared}


def test_the_scan_sees_each_way_to_touch_the_base():
    touches = {file: Touches(file).found for file in FILES}
    serve_utils = f"{BASE[0]}.algorithm_mode.serve_utils"
    assert (serve_utils, "predict") in touches["predictor.py"]  # a parameter
    assert (serve_utils, "xgb") in touches["request_data.py"]  # by getattr, and set
    assert (f"{BASE[0]}.algorithm_mode.train", "add_debugging") in touches["fixes/_train_job.py"]  # a name in text
    assert (f"{BASE[0]}.mms_patch.mms_transformer", "XGBMMSTransformer") in touches["fixes/mme_errors.py"]  # imported
    assert Touches("fixes/_loading.py").named_modules == {
        serve_utils,
        serve_utils.replace("serve_utils", "handler_service"),
    }
    part = Touches("fixes/libsvm.py", ["libsvm_skew_not_needed", "install_libsvm_skew"]).found
    assert (f"{BASE[0]}.encoder", "_dmatrix_decoders_map") in part  # by a function that the fixes share
    assert (serve_utils, "get_content_type") in Touches("fixes/libsvm.py").found - part  # the other fix's


def followed(files: tuple[str, ...]) -> set[str]:
    """`files` and what they import of the overlay, and so on."""
    reached: set[str] = set()
    waiting = list(files)
    while waiting:
        file = waiting.pop()
        if file not in reached:
            reached.add(file)
            waiting += imports(file)
    return reached


def imports(file: str) -> Iterator[str]:
    for node in ast.walk(ast.parse((OVERLAYS / file).read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = (OVERLAYS / file).parents[node.level - 1]
            names = [node.module] if node.module else [item.name for item in node.names]
            paths = [folder / f"{name}.py" for name in names]
            yield from (path.relative_to(OVERLAYS).as_posix() for path in paths if path.is_file())


@pytest.mark.parametrize("feature", FEATURES)
def test_what_a_feature_reaches_is_in_its_seams(feature):
    carried = [seam for seam in hooks.seams() if seam.carries([feature], [])]
    touching = {file for file in followed(BEGINNINGS[feature]) if Touches(file).found}
    if feature != "training":
        touching.discard("model/version_guard.py")  # imported by the command, and used with that feature alone
    assert touching <= {file for seam in carried for file in seam.overlays}


@pytest.mark.parametrize("fix", FIXES)
def test_what_a_fix_reaches_is_in_its_seams(fix):
    carried = [seam for seam in hooks.seams() if seam.carries([], [fix])]
    hooked = [hook for seam in carried for hook in seam.hooks]
    own, module = fix.replace("-", "_"), f"fixes/{overlays_fixes.FIXES[fix].module}.py"
    waiting, known, touched = [(module, f"{own}_not_needed"), (module, f"install_{own}")], set(), set()
    while waiting:
        file, name = waiting.pop()
        if (file, name) not in known:
            known.add((file, name))
            part = Touches(file, [name])
            touched |= part.found
            waiting += part.uses()
    assert touched
    assert not [each for each in sorted(touched) if not any(covers(hook, each) for hook in hooked)]


def test_seams_name_features_fixes_and_files_that_exist():
    for seam in hooks.seams():
        assert seam.features <= set(FEATURES)
        assert seam.fixes <= set(FIXES)
        assert set(seam.overlays) <= set(FILES)
        assert seam.images in ("", hooks.EVERY, hooks.ANY)
        assert seam.images or seam.features or seam.fixes


@pytest.mark.parametrize(
    "hook", sorted({hook for seam in hooks.seams() for hook in seam.hooks}), ids=lambda hook: hook.key
)
def test_the_base_has_every_hook_but_those_of_some_versions(hook):
    assert hook.optional or hooks.fingerprint(hook.key, standin()) != MISSING


def test_an_image_without_features_and_fixes_relies_on_the_entry_points_alone():
    names = [entry.partition("=")[0] for entry in hooks.fingerprints([], [], [], standin())]
    assert names == [f"{BASE[0]}.serving:main", f"{BASE[0]}.training:main"]


@pytest.mark.parametrize("chosen", [(["shap"], []), ([], ["libsvm-skew"])], ids=["feature", "fix"])
def test_a_feature_or_a_fix_brings_the_command_and_its_own_hooks(chosen):
    entries = hooks.fingerprints(*chosen, [], standin())
    names = {entry.partition("=")[0] for entry in entries}
    assert f"{BASE[0]}.serving:serving_entrypoint" in names
    assert f"{BASE[0]}.encoder:libsvm_to_dmatrix" in names
    assert list(entries) == sorted(entries)
    assert all(re.fullmatch(r"[\w.]+:[\w.]+=([0-9a-f]{12}|missing)", entry) for entry in entries)


def test_all_there_is_makes_a_label_of_reasonable_size():
    assert len(",".join(hooks.fingerprints(list(FEATURES), list(FIXES), [], standin()))) < 8000


def test_a_replaced_module_counts_as_a_whole():
    name = f"{BASE[0]}.encoder"
    entries = hooks.fingerprints([], [], [name, "gone"], {name: module("x = 1", sha256="b" * 64)})
    assert f"{name}:*={'b' * 12}" in entries
    assert "gone:*=missing" in entries
    assert hooks.replaced(entries) == ("gone", name)


def test_a_module_that_this_python_cannot_read_counts_as_a_whole():
    broken = module("def main(:\n", sha256="c" * 64)
    assert hooks.fingerprint("m:main", {"m": broken}) == "c" * 12


def test_a_label_is_written_again_for_another_base():
    python = PythonFacts("3.12.8", "/p/bin/python3", "/p", "/p/site-packages", "x86_64", "2.36")
    facts = Facts("sha256:0", python, {"xgboost": Distribution("xgboost", "3.2.0")}, standin(), frozenset(), {}, {}, {})
    entries = hooks.recorded(["shap"], [], [], facts)
    assert entries[:4] == (
        "xgboost:minor=3.2", "python:minor=3.12", "python:executable=/p/bin/python3",
        "python:site-packages=/p/site-packages",
    )  # fmt: skip
    assert hooks.recompute(entries, facts) == entries
