"""Package indexes, as uv and pip are configured with them on this machine, for uv's resolver and for the download.

uv's own settings come first (its variables, the user's and the system's `uv.toml`). Where none of them names an index,
those of pip are handed on: its variables, then `pip.conf`. Credentials stay out of everything that is kept or printed.
"""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from xgbpatch.errors import ConfigurationError
from xgbpatch.util import TOMLDecodeError, loads

_INDEX_OPTIONS = {  # pip's name → uv's variable
    "index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
}  # fmt: skip
_OTHER_OPTIONS = {"cert": "SSL_CERT_FILE", "trusted-host": "UV_INSECURE_HOST"}
_OLD_VARIABLES = ("UV_INDEX_URL", "UV_EXTRA_INDEX_URL")
_UV_KEYS = ("index", "index-url", "extra-index-url", "find-links", "no-index")
_PYPI = "https://pypi.org/simple"
_KEYRING_SECONDS = 60


def variables() -> dict[str, str]:
    """The environment for uv: this process's, with what pip is configured with under uv's names."""
    environment = dict(os.environ)
    uv_names_one = any(environment.get(name) for name in (*_INDEX_OPTIONS.values(), *_OLD_VARIABLES)) or any(
        key in table for table in _uv_tables(environment) for key in _UV_KEYS
    )
    pip = _pip_options(environment)
    for option, name in {**({} if uv_names_one else _INDEX_OPTIONS), **_OTHER_OPTIONS}.items():
        value = " ".join(pip.get(option, "").split())
        if option == "no-index":
            value = "1" if value.lower() in ("1", "y", "yes", "t", "true", "on") else ""
        if value and not environment.get(name):
            environment[name] = value.replace(" ", ",") if option == "find-links" else value
    if not uv_names_one and "extra-index-url" in pip:
        environment.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")  # pip's: the newest release of all indexes
    if pip.get("keyring-provider", "disabled") != "disabled":
        environment.setdefault("UV_KEYRING_PROVIDER", "subprocess")
    return environment


def named(environment: Mapping[str, str]) -> str:
    """The indexes that uv asks, for a message: without credentials."""
    urls = dict.fromkeys(redacted(url) for _, url in _indexes(environment))
    return ", ".join(urls) or _PYPI


def redacted(text: str) -> str:
    """`text` without the user's part and the query of the addresses in it: either may be a credential."""
    return re.sub(r"(?<=://)[^/\s]+@|\?[^\s?='\"]*=[^\s'\"]*", "", text)


def credentials(url: str, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """User and password for a file at `url`: those of the nearest index on the same scheme, host and port, by its
    address, uv's variables or keyring. None where there are none; netrc is the HTTP client's affair."""
    file = urlsplit(url)
    near = [(name, urlsplit(index)) for name, index in _indexes(environment)]
    near = [(name, index) for name, index in near if _origin(index) == _origin(file)]
    near.sort(key=lambda item: len(os.path.commonpath([f"/{item[1].path}", f"/{file.path}"])), reverse=True)
    for name, index in near:
        prefix = f"UV_INDEX_{re.sub(r'[^A-Z0-9]', '_', name.upper())}"  # without a name, of no variable
        user = unquote(index.username or "") or environment.get(f"{prefix}_USERNAME", "")
        password = unquote(index.password or "") or environment.get(f"{prefix}_PASSWORD", "")
        if user and not password and environment.get("UV_KEYRING_PROVIDER") == "subprocess":
            password = _from_keyring(index, user, environment)
        if user or password:
            return user, password
    return None


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _from_keyring(index: SplitResult, user: str, environment: Mapping[str, str]) -> str:
    """As uv asks it: by the index's address, then by its host."""
    program = shutil.which("keyring", path=environment.get("PATH"))
    host = index.netloc.rpartition("@")[2]
    for service in (index._replace(netloc=host).geturl(), host) if program else ():
        with suppress(OSError, subprocess.SubprocessError):
            answer = subprocess.run(
                [str(program), "get", service, user], capture_output=True, text=True, timeout=_KEYRING_SECONDS,
                check=True, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            if answer.stdout.strip():
                return answer.stdout.strip()
    return ""


def _indexes(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Name (mostly none) and address of every index that uv reads."""
    for variable in (*_INDEX_OPTIONS.values(), *_OLD_VARIABLES):
        for word in environment.get(variable, "").replace(",", " ").split() if variable != "UV_NO_INDEX" else ():
            name, _, url = word.partition("=") if re.match(r"[\w.-]+=", word) else ("", "", word)
            yield name, url
    for table in _uv_tables(environment):
        for entry in table.get("index", ()):
            yield str(entry.get("name", "")), str(entry.get("url", ""))
        for key in ("index-url", "extra-index-url", "find-links"):
            value = table.get(key, ())
            yield from (("", str(url)) for url in ([value] if isinstance(value, str) else value))


def _uv_tables(environment: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """What the user's and the system's `uv.toml` hold, and their `[pip]`; of what cannot be read uv complains."""
    if environment.get("UV_CONFIG_FILE"):
        files = [Path(environment["UV_CONFIG_FILE"])]
    elif environment.get("UV_NO_CONFIG"):
        files = []
    else:
        files = [folder / "uv" / "uv.toml" for folder in (_user_folder(environment), *_system_folders(environment))]
        files.append(Path("/etc/uv/uv.toml"))
    for file in files:
        with suppress(OSError, UnicodeDecodeError, TOMLDecodeError):
            table = loads(file.read_text(encoding="utf-8"))
            yield table
            yield table.get("pip", {})


def _pip_options(environment: Mapping[str, str]) -> dict[str, str]:
    """pip's options, by its own order: variables, PIP_CONFIG_FILE, the environment's file, the user's, the system's."""
    last = environment.get("PIP_CONFIG_FILE", "")
    name = "pip.ini" if os.name == "nt" else "pip.conf"
    home = Path.home()
    files = [folder / "pip" / name for folder in _system_folders(environment)]
    files += [Path("/Library/Application Support/pip") / name] if sys.platform == "darwin" else []
    files += [Path("/etc") / name, home / ".pip" / name, _user_folder(environment) / "pip" / name]
    files += [home / "Library/Application Support/pip" / name] if sys.platform == "darwin" else []
    files += [Path(sys.prefix) / name, *([Path(last)] if last else [])]
    options: dict[str, str] = {}
    for section in ("global", "install"):
        for file in () if last == os.devnull else files:
            parser = configparser.RawConfigParser()
            try:
                parser.read(file)
            except (configparser.Error, UnicodeDecodeError) as error:  # whose words quote the line
                raise ConfigurationError(f'"{file}" is no configuration of pip: {type(error).__name__}') from None
            options.update(parser.items(section) if parser.has_section(section) else ())
    for option in (*_INDEX_OPTIONS, *_OTHER_OPTIONS, "keyring-provider"):
        value = environment.get(f"PIP_{option.replace('-', '_').upper()}")
        options.update({option: value} if value else {})
    return options


def _user_folder(environment: Mapping[str, str]) -> Path:
    folder = environment.get("APPDATA") if os.name == "nt" else environment.get("XDG_CONFIG_HOME")
    return Path(folder) if folder else Path.home() / ".config"


def _system_folders(environment: Mapping[str, str]) -> list[Path]:
    return [Path(folder) for folder in reversed(environment.get("XDG_CONFIG_DIRS", "/etc/xdg").split(os.pathsep))]
