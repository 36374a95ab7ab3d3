"""A base by hand, small enough for any test: the stand-in's modules, and as much of a Python as inspection reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from handmade import HandImage, tar

import xgbpatch

SOURCE = Path(xgbpatch.__file__).parent / "standin" / "source"
PREFIX = "/opt/python"
SITE = f"{PREFIX}/lib/python3.12/site-packages"
SERVE_UTILS = "sagemaker_xgboost_container/algorithm_mode/serve_utils.py"
ENVIRONMENT = {
    "PATH": f"{PREFIX}/bin:/usr/bin",
    "SAGEMAKER_SERVING_MODULE": "sagemaker_xgboost_container.serving:main",
    "SAGEMAKER_TRAINING_MODULE": "sagemaker_xgboost_container.training:main",
}


def base(changes: Mapping[str, tuple[str, str]] | None = None, note: str = "", xgboost: str = "3.2.0") -> HandImage:
    """The base; `changes` replaces text (old, new) in files below site-packages, `note` makes it another one."""
    return HandImage([tar(_system(note), [f"{PREFIX[1:]}/bin/{name}" for name in _COMMANDS]),
                      tar(_packages(changes or {}, xgboost))], ENVIRONMENT)  # fmt: skip


_COMMANDS = ("python3.12", "serve", "train")


def _system(note: str) -> dict[str, bytes]:
    script = f"#!{PREFIX}/bin/python3.12\n".encode()
    files = {
        "bin/python3.12": b"\x7fELF",
        "bin/serve": script,
        "bin/train": script,
        "lib/python3.12/os.py": b"",
        "include/python3.12/patchlevel.h": b'#define PY_VERSION "3.12.8"\n',
    }
    status = b"Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9+deb12u9\n\n"
    own = {f"{PREFIX[1:]}/{name}": content for name, content in files.items()}
    return {**own, "var/lib/dpkg/status": status, "etc/note": note.encode()}


def _packages(changes: Mapping[str, tuple[str, str]], xgboost: str) -> dict[str, bytes]:
    found = {f"xgboost-{xgboost}.dist-info/METADATA": f"Name: xgboost\nVersion: {xgboost}\n"}
    for path in sorted(SOURCE.rglob("*.py")):
        found[path.relative_to(SOURCE).as_posix()] = path.read_text()
    for name, (old, new) in changes.items():
        assert old in found[name], f"{name} holds no {old!r}"
        found[name] = found[name].replace(old, new)
    return {f"{SITE[1:]}/{name}": text.encode() for name, text in found.items()}
