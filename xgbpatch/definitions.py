"""What a module's text defines: the statements that bind a name, and what is left of them without layout.

Two texts are compared by tokens and not by `ast.dump` or `ast.unparse`, whose output differs between the Pythons that
xgbpatch runs on. Tokens differ in one thing only, f-strings (one token before 3.12), and they are put together again.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

_LAYOUT = frozenset({tokenize.COMMENT, tokenize.NL, tokenize.ENDMARKER})
_BLOCK = {tokenize.INDENT: "{:", tokenize.DEDENT: ":}"}  # no token looks like these
_FORMATTED = ("FSTRING", "TSTRING")


def decoded(content: bytes) -> str:
    """The text of a module, in the encoding that it declares (PEP 263), without a byte order mark.

    Raises `SyntaxError` where Python would not read it: the encoding is unknown, or the bytes are of another.
    """
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        return content.decode(encoding)
    except (LookupError, UnicodeError) as error:  # `rot13` and its kin are no encodings of text
        raise SyntaxError(str(error)) from error


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
    found = tuple(node for node in top_level(tree) if head in bound(node))
    if not rest:
        return found
    return tuple(inner for node in found if isinstance(node, ast.ClassDef) for inner in binding(node, rest))


def excerpt(source: str, name: str) -> str:
    """The text that binds `name`, as it stands; empty where nothing does. Raises `SyntaxError`."""
    module = _read(source)
    return "\n".join(_text(module, node, name) for node in binding(module.tree, name))


def substance(source: str, name: str) -> str | None:
    """The same without comments, docstrings and layout: equal where two Pythons would run the same.

    None where nothing binds `name`; raises `SyntaxError` for text that this Python cannot read.
    """
    module = _read(source)
    found = binding(module.tree, name)
    return "\n".join(normalised(_text(module, node, name)) for node in found) if found else None


def parameters(source: str, name: str) -> str:
    """The parameters of the function `name`, as `(a, b=1)`; empty where it is none. Raises `SyntaxError`."""
    found = [node for node in binding(_read(source).tree, name) if isinstance(node, ast.FunctionDef)]
    return " / ".join(f"({ast.unparse(node.args)})" for node in found)


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
class _Module:
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
def _read(source: str) -> _Module:
    return _Module(parsed(source), tuple(io.StringIO(source, newline=None)))


def _text(module: _Module, node: ast.AST, name: str) -> str:
    """Of an import just the one name: its neighbours are nobody's business."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        kept = [item for item in node.names if _imported_as(item) == name.rpartition(".")[2]]
        return "\n".join(_import(node, item) for item in kept)
    decorators: Iterable[ast.expr] = getattr(node, "decorator_list", ())
    return "\n".join([*(f"@{module.segment(item)}" for item in decorators), module.segment(node)])


def _import(node: ast.Import | ast.ImportFrom, item: ast.alias) -> str:
    origin = f"from {'.' * node.level}{node.module or ''} " if isinstance(node, ast.ImportFrom) else ""
    return f"{origin}import {item.name}" + (f" as {item.asname}" if item.asname else "")


def _imported_as(item: ast.alias) -> str:
    return (item.asname or item.name).split(".")[0]
