"""What the overlays rely on in the base (hooks.toml), and fingerprints that tell when it changes."""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from xgbpatch.inspection.facts import Facts, UpstreamModule
from xgbpatch.util import load_data

_LAYOUT = frozenset({tokenize.COMMENT, tokenize.NL, tokenize.ENDMARKER})
_BLOCK = {tokenize.INDENT: "{:", tokenize.DEDENT: ":}"}  # no token looks like these
_FORMATTED = ("FSTRING", "TSTRING")


def parsed(source: str) -> ast.Module:
    """The tree of a module's text; raises `SyntaxError`, and nothing else, where this Python cannot read it."""
    try:
        return ast.parse(source)
    except (ValueError, RecursionError, MemoryError) as error:  # a NUL, half a surrogate pair, a thousand brackets
        raise SyntaxError(str(error) or "nested too deeply") from error


def top_level(tree: ast.AST) -> Iterator[ast.AST]:
    """Statements that run at import, those inside `if`, `try`, `with`, `for` and `while` included."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With | ast.For | ast.While | ast.ExceptHandler):
            yield from top_level(node)


def bound(node: ast.AST) -> Iterator[str]:
    """The names that a statement binds; `*` for an import of everything."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name
        case ast.Import() | ast.ImportFrom():
            yield from (_imported_as(item) for item in node.names)
        case ast.Assign() | ast.AnnAssign() | ast.AugAssign() | ast.For() | ast.With():
            names = (child for child in ast.walk(node) if isinstance(child, ast.Name))
            yield from (child.id for child in names if isinstance(child.ctx, ast.Store))


def binding(tree: ast.AST, name: str) -> tuple[ast.AST, ...]:
    """The statements of a module or class that bind `name`, dots leading into classes; none where nothing does."""
    head, _, rest = name.partition(".")
    nodes = _bindings(tree).get(head, ())
    if not rest:
        return nodes
    return tuple(inner for node in nodes if isinstance(node, ast.ClassDef) for inner in binding(node, rest))


@lru_cache(maxsize=64)
def _bindings(tree: ast.AST) -> Mapping[str, tuple[ast.AST, ...]]:
    """Name → the statements that bind it: a module has up to a dozen hooks, and each looks through it."""
    nodes: dict[str, tuple[ast.AST, ...]] = {}
    for node in top_level(tree):
        for name in dict.fromkeys(bound(node)):
            nodes[name] = (*nodes.get(name, ()), node)
    return nodes


def excerpt(source: str, name: str) -> str:
    """The text that binds `name`, as it stands; empty where nothing does. Raises `SyntaxError`."""
    module = _read(source)
    return "\n".join(_text(module, node, name) for node in binding(module.tree, name))


@lru_cache(maxsize=512)  # `plan` and `rebuild` ask for those of a base again and again
def substance(source: str, name: str) -> str | None:
    """The same without comments, docstrings and layout: equal where two Pythons would run the same.

    None where nothing binds `name`; raises `SyntaxError` for text that this Python cannot read.
    """
    module = _read(source)
    nodes = binding(module.tree, name)
    return "\n".join(normalised(_text(module, node, name)) for node in nodes) if nodes else None


def parameters(source: str, name: str) -> str:
    """The parameters of the function `name`, as `(a, b=1)`; empty where it is none. Raises `SyntaxError`."""
    functions = [node for node in binding(_read(source).tree, name) if isinstance(node, ast.FunctionDef)]
    return " / ".join(f"({ast.unparse(node.args)})" for node in functions)


def normalised(text: str) -> str:
    """The tokens of `text`, a line a statement; statements that are nothing but a string are left out."""
    lines: list[list[str]] = [[]]
    only_text = True
    for kind, word in _words(text):
        if kind == tokenize.NEWLINE:
            if only_text:
                lines[-1] = [word for word in lines[-1] if word in _BLOCK.values()]
            else:
                lines.append([])
            only_text = True
        else:
            lines[-1].append(_BLOCK.get(kind, word))
            only_text = only_text and (kind == tokenize.STRING or kind in _BLOCK)
    return "\n".join(" ".join(line) for line in lines).strip()


def _words(text: str) -> Iterator[tuple[int, str]]:
    """(token type, text), f-strings as one STRING."""
    rows, depth, start = text.splitlines(keepends=True), 0, (0, 0)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        name = tokenize.tok_name[token.type]
        if name.startswith(_FORMATTED):
            step = {"_START": 1, "_END": -1}.get(name[7:], 0)
            start = token.start if not depth else start
            depth += step
            if step < 0 and not depth:
                yield tokenize.STRING, _between(rows, start, token.end)
        elif not depth and token.type not in _LAYOUT:
            yield token.type, token.string


def _between(rows: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    if start[0] == end[0]:
        return rows[start[0] - 1][start[1] : end[1]]
    first, *middle, last = rows[start[0] - 1 : end[0]]
    return "".join([first[start[1] :], *middle, last[: end[1]]])


@dataclass(frozen=True)
class _ParsedModule:
    tree: ast.Module
    lines: tuple[str, ...]

    def segment(self, node: ast.AST) -> str:
        """As `ast.get_source_segment`, which takes the whole text apart at each call. Columns are bytes of UTF-8."""
        first, last = getattr(node, "lineno", 0) - 1, getattr(node, "end_lineno", 0) - 1
        rows = [line.encode("utf-8", "surrogatepass") for line in self.lines[first : last + 1]]
        rows[-1] = rows[-1][: getattr(node, "end_col_offset", None)]
        rows[0] = rows[0][getattr(node, "col_offset", 0) :]
        return b"".join(rows).decode("utf-8", "surrogatepass")


@lru_cache(maxsize=64)
def _read(source: str) -> _ParsedModule:
    return _ParsedModule(parsed(source), tuple(io.StringIO(source, newline=None)))


def _text(module: _ParsedModule, node: ast.AST, name: str) -> str:
    """The source of a statement; of an import that binds several names, only the part for `name`."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        aliases = [item for item in node.names if _imported_as(item) == name.rpartition(".")[2]]
        return "\n".join(_import(node, item) for item in aliases)
    decorators: Iterable[ast.expr] = getattr(node, "decorator_list", ())
    return "\n".join([*(f"@{module.segment(item)}" for item in decorators), module.segment(node)])


def _import(node: ast.Import | ast.ImportFrom, item: ast.alias) -> str:
    origin = f"from {'.' * node.level}{node.module or ''} " if isinstance(node, ast.ImportFrom) else ""
    return f"{origin}import {item.name}" + (f" as {item.asname}" if item.asname else "")


def _imported_as(item: ast.alias) -> str:
    return (item.asname or item.name).split(".")[0]


# What a patch relies on in its base, and a short print of each, which an image carries in its label.
#
# The table is `data/hooks.toml`. A print is made of a definition's tokens (see `normalised`): comments,
# docstrings and layout do not count, so a base that was only reformatted has not drifted.


MISSING = "missing"
WHOLE = "*"
EVERY, ANY = "every", "any"
XGBOOST = "xgboost:minor"
PYTHON = "python:minor"
EXECUTABLE = "python:executable"
SITE_PACKAGES = "python:site-packages"

_FOOTING = (XGBOOST, PYTHON, EXECUTABLE, SITE_PACKAGES)
_DIGITS = 12
_OPTIONAL = "?"


@dataclass(frozen=True, order=True)
class Hook:
    """A name of a base module, dots leading into classes. An `optional` one does not exist on every version."""

    module: str
    name: str
    optional: bool = False

    @property
    def key(self) -> str:
        """As the label names it."""
        return f"{self.module}:{self.name}"

    @classmethod
    def parse(cls, key: str) -> Hook:
        module, _, name = key.partition(":")
        return cls(module, name)


@dataclass(frozen=True)
class Seam:
    """Hooks that are needed together: by `images` ("every", "any": with a feature or a fix), or by some features and
    fixes. `overlays` are the overlay's files that touch them."""

    name: str
    images: str
    features: frozenset[str]
    fixes: frozenset[str]
    overlays: tuple[str, ...]
    hooks: tuple[Hook, ...]

    def carries(self, features: Sequence[str], fixes: Sequence[str]) -> bool:
        """Whether an image with these stands on it."""
        by_images = bool(features or fixes) if self.images == ANY else self.images == EVERY
        return by_images or not self.features.isdisjoint(features) or not self.fixes.isdisjoint(fixes)


@cache
def seams() -> tuple[Seam, ...]:
    """The whole table."""
    return tuple(
        Seam(
            name=name,
            images=row.get("images", ""),
            features=frozenset(row.get("features", ())),
            fixes=frozenset(row.get("fixes", ())),
            overlays=tuple(row["overlays"]),
            hooks=tuple(
                Hook(module, text.removesuffix(_OPTIONAL), text.endswith(_OPTIONAL))
                for module, names in row["modules"].items()
                for text in names
            ),
        )
        for name, row in load_data("hooks.toml").items()
    )


def fingerprints(
    features: Sequence[str], fixes: Sequence[str], replaced: Sequence[str], modules: Mapping[str, UpstreamModule]
) -> tuple[str, ...]:
    """`module:name=<12 hexadecimal digits>` of everything the patch relies on, sorted; `=missing` where there is none.

    A module that the image replaces has one as a whole, `module:*=…`.
    """
    needed = {hook.key for seam in seams() if seam.carries(features, fixes) for hook in seam.hooks}
    needed.update(f"{module}:{WHOLE}" for module in replaced)
    return tuple(f"{key}={fingerprint(key, modules)}" for key in sorted(needed))


def fingerprint(key: str, modules: Mapping[str, UpstreamModule]) -> str:
    """Of one hook. Where this Python cannot read the module, of the whole file: equal then still means unchanged."""
    hook = Hook.parse(key)
    module = modules.get(hook.module)
    if module is None:
        return MISSING
    if hook.name == WHOLE:
        return module.sha256[:_DIGITS]
    try:
        text = substance(module.source, hook.name)
    except SyntaxError:
        return module.sha256[:_DIGITS]
    return MISSING if text is None else hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


def runtime_facts(facts: Facts) -> tuple[str, ...]:
    """What every patch relies on, in the same form: xgboost and Python by minor version, and where Python lies."""
    return (
        f"{XGBOOST}={'.'.join(facts.xgboost.split('.')[:2])}",
        f"{PYTHON}={'.'.join(str(number) for number in facts.python.minor)}",
        f"{EXECUTABLE}={facts.python.executable}",
        f"{SITE_PACKAGES}={facts.python.site_packages}",
    )


def recorded(features: Sequence[str], fixes: Sequence[str], replaced: Sequence[str], facts: Facts) -> tuple[str, ...]:
    """What an image remembers of its base: its `footing`, and the `fingerprints` in it."""
    return (*runtime_facts(facts), *fingerprints(features, fixes, replaced, facts.modules))


def recompute(entries: Sequence[str], facts: Facts) -> tuple[str, ...]:
    """What an image with these `entries` would remember of the base with `facts`."""
    keys = [entry.partition("=")[0] for entry in entries]
    return (*runtime_facts(facts), *(f"{key}={fingerprint(key, facts.modules)}" for key in keys if key not in _FOOTING))


def replaced(entries: Sequence[str]) -> tuple[str, ...]:
    """The modules that an image with these `entries` replaces."""
    hooks = (Hook.parse(entry.partition("=")[0]) for entry in entries)
    return tuple(hook.module for hook in hooks if hook.name == WHOLE)
