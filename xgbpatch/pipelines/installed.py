"""Where this xgbpatch came from, as the words with which pip installs the same one elsewhere."""

from __future__ import annotations

import json
from importlib.metadata import distribution
from typing import Any

from xgbpatch.errors import ConfigurationError

EXAMPLE = "xgbpatch[packages] @ git+https://github.com/xgbpatch/xgbpatch@<commit>"
_NAME = "xgbpatch[packages]"


def requirement() -> str:
    """Of the installed xgbpatch; raises `ConfigurationError` where no other machine could install it."""
    found = distribution("xgbpatch")
    return from_record(found.version, found.read_text("direct_url.json") or "")


def from_record(version: str, record: str) -> str:
    """`record` is pip's direct_url.json (PEP 610), empty for what came from a package index."""
    if not record:
        return f"{_NAME}=={version}"
    origin: dict[str, Any] = json.loads(record)
    url = str(origin["url"])
    if url.startswith("file:"):
        raise ConfigurationError(
            f'this xgbpatch was installed from "{url}", which a pipeline cannot reach',
            f"Name what it is to install: --requirement '{EXAMPLE}'",
        )
    folder = origin.get("subdirectory", "")
    return f"{_NAME} @ {_pinned(url, origin)}" + (f"#subdirectory={folder}" if folder else "")


def _pinned(url: str, origin: dict[str, Any]) -> str:
    checkout = origin.get("vcs_info")
    return f"{checkout['vcs']}+{url}@{checkout['commit_id']}" if checkout else url
