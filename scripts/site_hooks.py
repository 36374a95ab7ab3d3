"""What mkdocs.yml cannot say: the tutorial shows the walkthrough's cells, and links that leave docs/ lead to GitHub."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

SOURCE = "https://github.com/xgbpatch/xgbpatch/blob/main"
RELATIVE_LINK = re.compile(r"(?<=\]\()(?!\w+:|[#/])([^)#\s]+)")
WALKTHROUGH = "examples/abalone/walkthrough.py"
PLACE = re.compile(r"^<!-- walkthrough: (\d+) -->$", re.M)

logger = logging.getLogger("mkdocs.hooks.site")  # a strict build fails at a warning of `mkdocs`


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """The page with links to files of the project that are no pages made into addresses of its repository."""
    pages = Path(config.docs_dir)
    folder = (pages / page.file.src_uri).parent
    if PLACE.search(markdown):
        markdown = with_walkthrough(markdown, (pages.parent / WALKTHROUGH).read_text(encoding="utf-8"))

    def address(match: re.Match[str]) -> str:
        target = Path(os.path.normpath(folder / match[1]))
        if target.is_relative_to(pages):
            return match[1]  # mkdocs looks after it
        if not target.exists():
            logger.warning("%s links to %s, which is not there", page.file.src_uri, match[1])
        return f"{SOURCE}/{os.path.relpath(target, pages.parent)}"

    return RELATIVE_LINK.sub(address, markdown)


def with_walkthrough(markdown: str, script: str) -> str:
    """The page with each section of the script (jupytext's percent format) in the place of its comment."""
    import jupytext

    sections: dict[str, list[str]] = {"0": []}
    number = "0"
    for cell in jupytext.reads(script, fmt="py:percent").cells:
        text = re.sub(r"\A# .*\n+", "", cell.source)  # the page has a title of its own
        if heading := re.match(r"## (\d+)\. ", text):
            number = heading[1]
            sections[number] = []
        sections[number].append(f"```python\n{text}\n```" if cell.cell_type == "code" else text)
    places = PLACE.findall(markdown)
    if places != list(sections):
        logger.warning("the tutorial has places for the sections %s of the walkthrough's %s", places, list(sections))
    return PLACE.sub(lambda match: "\n\n".join(sections.get(match[1], ())), markdown)
