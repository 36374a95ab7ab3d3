"""Replacing a base module by the user's: only the very file it was written against, and with every name still there."""

from __future__ import annotations

import ast
import difflib
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from xgbpatch.errors import ReplacementError
from xgbpatch.inspection.facts import Facts, PythonFacts, decode_source
from xgbpatch.patch import hooks
from xgbpatch.spec import Replacement

_SHOWN_LINES = 80


@dataclass(frozen=True, order=True)
class Need:
    """A name of a module that another module imports or reads."""

    module: str
    name: str
    by: str


# Names that no import shows: console scripts and SageMaker's seams call them by string.
_ENTRY_POINTS = (
    Need("sagemaker_xgboost_container.serving", "main", "SAGEMAKER_SERVING_MODULE"),
    Need("sagemaker_xgboost_container.serving", "serving_entrypoint", "the serve command"),
    Need("sagemaker_xgboost_container.training", "main", "SAGEMAKER_TRAINING_MODULE"),
)


def check(replacement: Replacement, facts: Facts) -> None:
    """Raises `ReplacementError`, with the difference, unless `replacement` can stand in for the base's module."""
    base = facts.modules.get(replacement.module)
    if base is None:
        near = difflib.get_close_matches(replacement.module, facts.modules, n=1)
        hint = f'Did you mean "{near[0]}"?' if near else "xgbpatch inspect --json lists the base's modules."
        raise ReplacementError(f'the base has no module "{replacement.module}"', hint)
    text = _text(replacement)
    if replacement.sha256 != base.sha256:
        written = f"against {replacement.sha256[:12]}…" if replacement.sha256 else "without naming the base's sha256"
        raise ReplacementError(
            f'the base\'s "{replacement.module}" has sha256 {base.sha256}, but "{replacement.source.name}" was written '
            f"{written}. From the base's file to yours:\n{difference(base.source, text)}",
            f'Bring over what the base changed, then set sha256 = "{base.sha256}".',
        )
    _refuse_missing_names(replacement, facts, text)


def needs(trees: Mapping[str, ast.Module], modules: Collection[str]) -> set[Need]:
    """Every name that a module of `trees` (dotted name → tree) takes from one of `modules`, all of the base."""
    required: set[Need] = set()
    for name, tree in trees.items():
        required.update(_needs_of(name, tree, modules))
    return required


def provided(tree: ast.Module) -> frozenset[str] | None:
    """The top-level names of a module; None where they cannot be told (`import *`, a module `__getattr__`)."""
    names: set[str] = set()
    for node in hooks.top_level(tree):
        names.update(hooks.bound(node))
    return None if names & {"*", "__getattr__"} else frozenset(names)


def _text(replacement: Replacement) -> str:
    try:
        return decode_source(replacement.source.read_bytes())
    except SyntaxError as error:
        raise ReplacementError(
            f'the text of "{replacement.source}" cannot be read: {error.msg}',
            "Save it as UTF-8, or name its encoding in the first line (PEP 263): # -*- coding: latin-1 -*-",
        ) from error


def _refuse_missing_names(replacement: Replacement, facts: Facts, text: str) -> None:
    try:
        names = provided(hooks.parsed(text))
    except SyntaxError as error:
        if _is_newer(facts.python):
            raise _unreadable(f'"{replacement.source}"', error, facts.python) from error
        raise ReplacementError(f'"{replacement.source}" is not valid Python: {error}') from error
    if names is None:
        return
    needed = [*needs(_trees(replacement, facts), facts.modules), *_ENTRY_POINTS]
    missing = sorted(need for need in needed if need.module == replacement.module and need.name not in names)
    missing = [need for need in missing if f"{need.module}.{need.name}" not in facts.modules]
    if missing:
        lines = "\n".join(f'  "{need.name}", needed by {need.by}' for need in missing)
        base = facts.modules[replacement.module].source
        raise ReplacementError(
            f'"{replacement.source.name}" lacks names that the base needs from "{replacement.module}":\n{lines}\n'
            f"From the base's file to yours:\n{difference(base, text)}",
            "Define them: the base would fail at import or at the first request.",
        )


def _trees(replacement: Replacement, facts: Facts) -> dict[str, ast.Module]:
    """The base's other modules, those that its own Python can import.

    One that this Python cannot read needs nothing where the base's Python is no newer: it cannot be imported there
    either. Where the base's is newer, nothing tells what it needs, unless it never mentions the replaced module. That
    one is refused and not guessed: the image would fail at its first request. A package may be taken from by
    `from . import name`, which mentions nothing.
    """
    trees: dict[str, ast.Module] = {}
    is_package = any(name.startswith(f"{replacement.module}.") for name in facts.modules)
    for name, module in facts.modules.items():
        if name == replacement.module:
            continue
        try:
            trees[name] = hooks.parsed(module.source)
        except SyntaxError as error:
            mentioned = is_package or replacement.module.rpartition(".")[2] in module.source
            if mentioned and _is_newer(facts.python):
                what = f'the base\'s "{name}", which may need names of "{replacement.module}",'
                raise _unreadable(what, error, facts.python) from error
    return trees


def _is_newer(python: PythonFacts) -> bool:
    """Whether the base's Python may read more than this one."""
    return python.minor > sys.version_info[:2]


def _unreadable(what: str, error: SyntaxError, python: PythonFacts) -> ReplacementError:
    own, theirs = (".".join(str(number) for number in pair) for pair in (sys.version_info[:2], python.minor))
    return ReplacementError(
        f"{what} cannot be read by the Python {own} that xgbpatch runs on: {error}. The base has Python {theirs}",
        f"Run xgbpatch on Python {theirs} or newer.",
    )


def difference(base: str, text: str) -> str:
    """A unified diff from the base's text to `text`, cut after 80 lines."""
    lines = list(difflib.unified_diff(base.splitlines(), text.splitlines(), "base", "yours", lineterm="", n=1))
    rest = len(lines) - _SHOWN_LINES
    return "\n".join(lines[:_SHOWN_LINES] + ([f"… and {rest} more lines"] if rest > 0 else []))


def _needs_of(name: str, tree: ast.Module, known: Collection[str]) -> Iterator[Need]:
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from _imported(name, node, aliases, known)
        elif isinstance(node, ast.Import):
            aliases.update({item.asname: item.name for item in node.names if item.asname and item.name in known})
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
            yield Need(aliases[node.value.id], node.attr, name)


def _imported(name: str, node: ast.ImportFrom, aliases: dict[str, str], known: Collection[str]) -> Iterator[Need]:
    source = _absolute(name, node, known)
    for item in node.names:
        whole = f"{source}.{item.name}"
        if whole in known:
            aliases[item.asname or item.name] = whole
        elif source in known and item.name != "*":
            yield Need(source, item.name, name)


def _absolute(name: str, node: ast.ImportFrom, known: Collection[str]) -> str:
    if not node.level:
        return node.module or ""
    is_package = any(other.startswith(f"{name}.") for other in known)
    parts = name.split(".")[: len(name.split(".")) - node.level + is_package]
    return ".".join([*parts, node.module] if node.module else parts)
