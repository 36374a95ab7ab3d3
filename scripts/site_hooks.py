"""What mkdocs.yml cannot say: links of a page that leave docs/ lead to the file on GitHub."""

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

logger = logging.getLogger("mkdocs.hooks.site")  # a strict build fails at a warning of `mkdocs`


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """The page with links to files of the project that are no pages made into addresses of its repository."""
    pages = Path(config.docs_dir)
    folder = (pages / page.file.src_uri).parent

    def address(match: re.Match[str]) -> str:
        target = Path(os.path.normpath(folder / match[1]))
        if target.is_relative_to(pages):
            return match[1]  # mkdocs looks after it
        if not target.exists():
            logger.warning("%s links to %s, which is not there", page.file.src_uri, match[1])
        return f"{SOURCE}/{os.path.relpath(target, pages.parent)}"

    return RELATIVE_LINK.sub(address, markdown)
