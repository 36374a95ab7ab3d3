"""What the text of an error may show a client: no path of the container, and nothing of a header as it came."""

from __future__ import annotations

import html
import re
from typing import Optional

TEXT = "text/plain; charset=utf-8"
_SHOWN = 60  # characters of a value
_DIGITS = 9
_FOLDERS = re.compile(r"(?<![\w.:/-])/(?:[^\s/'\"`,:;()<>\[\]]+/)+(?=[^\s/])")


def quoted(value: str) -> str:
    """The beginning of `value` in double quotes, as printable ASCII without markup."""
    shown = value if len(value) <= _SHOWN else value[:_SHOWN] + "..."
    return '"{}"'.format(html.escape(ascii(shown)[1:-1], quote=False))


def without_folders(text: str) -> str:
    """`text` with the file names of its absolute paths alone."""
    return _FOLDERS.sub("", text)


def count(text: str) -> Optional[int]:
    """The whole number above 0 that `text` writes, or None; of more digits than any use has, None too."""
    number = int(text) if text.isdecimal() and len(text) <= _DIGITS else 0
    return number or None
