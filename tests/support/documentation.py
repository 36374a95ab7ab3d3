"""The pages of the documentation: their fenced blocks, the commands in these, and which test runs which.

documented_commands.toml says for each block of a shell by which test it is run as it stands. That test takes it from
here, by `run_by`, so that a block which the table gives to a test is in what the test runs.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from xgbpatch.util import loads

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
)
EXAMPLE = "example"  # a line below "Examples:" of docs/commands.md, the command reference
SHELL = ("bash", "sh", "console", EXAMPLE)
RUNS = Path(__file__).with_name("documented_commands.toml")

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.M | re.S)
_EXAMPLES = re.compile(r"^  Examples:\n((?:    .+\n)+)", re.M)
_HERE_DOCUMENT = re.compile(r"(<<-?)\s*'?(\w+)'?(.*?\n).*?^\s*\2$", re.M | re.S)
_ENDS = frozenset("();|&\n") | {"&&", "||", "|&", ";;", "("}
_KEYWORDS = {"if", "then", "else", "elif", "fi", "while", "until", "do", "done", "{", "}", "!", "exec"}
_WRAPPERS = {"timeout": 2, "nice": 1, "eval": 1, "sudo": 1}  # words that stand before a command


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the line of its fence, its language and its text."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def of(self) -> str:
        """The page, as the table names it."""
        return self.page.relative_to(ROOT).as_posix()

    @property
    def name(self) -> str:
        """For the id of a test."""
        return f"{self.of}:{self.line}"

    @property
    def script(self) -> str:
        """What a shell is to run; of a console the lines behind the prompts."""
        if self.language != "console":
            return self.text
        return "\n".join(line[2:] for line in self.text.splitlines() if line.startswith("$ "))


def blocks(*languages: str) -> list[Block]:
    """Every fenced block of all pages in one of these languages; an example of the command reference is one too."""
    all_blocks = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in _FENCE.finditer(text):
            if match[1] in languages:
                all_blocks.append(Block(page, text.count("\n", 0, match.start()) + 1, match[1], match[2]))
        for match in _EXAMPLES.finditer(text) if EXAMPLE in languages else ():
            first = text.count("\n", 0, match.start(1)) + 1
            lines = enumerate(match[1].splitlines(keepends=True), first)
            all_blocks.extend(Block(page, number, EXAMPLE, line.strip(" ")) for number, line in lines)
    return all_blocks


@cache
def runs() -> dict[str, dict[str, str]]:
    """The table: page, or folder and slash → words of a block, or "*" for the other blocks → test file or reason."""
    table: dict[str, dict[str, str]] = loads(RUNS.read_text(encoding="utf-8"))
    return table


def runs_of(page: str) -> dict[str, str]:
    """The page's own table, or that of its folder."""
    return runs().get(page, runs().get(page.rpartition("/")[0] + "/", {}))


def verdicts(block: Block) -> list[str]:
    """What the table says of a block: one test file, or one reason why it is not run."""
    table = runs_of(block.of)
    named = [verdict for words, verdict in table.items() if words != "*" and words in block.text]
    return sorted(set(named)) or [verdict for words, verdict in table.items() if words == "*"]


def run_by(test_file: str, page: str = "") -> list[Block]:
    """The blocks that this test has to run, of one page or of all, in the pages' order.

    `test_file` is its `__file__`.
    """
    test = Path(test_file).resolve().relative_to(ROOT).as_posix()
    return [block for block in blocks(*SHELL) if verdicts(block) == [test] and page in ("", block.of)]


def commands(script: str) -> Iterator[list[str]]:
    """The words of each command of a shell script, without assignments and redirections, in their order."""
    script = _without_comments(_HERE_DOCUMENT.sub(r"\3", script.replace("\\\n", " ")))
    lexer = shlex.shlex(script, posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace = " \t\r"
    lexer.commenters = ""
    lexer.whitespace_split = True
    words: list[str] = []
    tokens = list(lexer)
    position = 0
    while position < len(tokens):
        token = tokens[position]
        if token[:1] in "<>&" and set(token) <= set("<>&") and token not in {"&", "&&"}:
            position += 2  # a redirection and what it names
            if words and words[-1] in {"1", "2"}:
                words.pop()
            continue
        if set(token) <= _ENDS:
            yield from _command(words)
            words = []
        else:
            words.append(token)
        position += 1
    yield from _command(words)


def _without_comments(script: str) -> str:
    code, quote, comment = "", "", False
    for character in script:
        comment = character != "\n" and (comment or (character == "#" and not quote and code[-1:] in {"", " ", "\n"}))
        if not comment:
            code += character
            if character in {quote, *(() if quote else "'\"")}:
                quote = "" if quote else character
    return code


def _command(words: list[str]) -> Iterator[list[str]]:
    while words and (words[0] in _KEYWORDS or re.fullmatch(r"\w+=.*", words[0], re.S) or words[0] in _WRAPPERS):
        words = words[_WRAPPERS.get(words[0], 1) :]
    if words[:2] == ["sh", "-c"]:
        yield from commands(words[2])
        return
    for inner in re.findall(r"\$\((.*?)\)", " ".join(words)):  # within double quotes
        yield from commands(inner)
    if words and not words[0].startswith("$("):
        yield words
