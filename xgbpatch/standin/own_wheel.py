"""The one wheel of AWS's two packages as we wrote them: `sagemaker_xgboost_container` 2.0."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path

_NAME = "sagemaker_xgboost_container"
_INFO = f"{_NAME}-2.0.dist-info"
_METADATA = f"Metadata-Version: 2.1\nName: {_NAME}\nVersion: 2.0\nSummary: Stand-in by xgbpatch, not by AWS\n"
_WHEEL = "Wheel-Version: 1.0\nGenerator: xgbpatch\nRoot-Is-Purelib: true\nTag: py2-none-any\nTag: py3-none-any\n"
_SCRIPTS = f"[console_scripts]\nserve = {_NAME}.serving:serving_entrypoint\n"
_MOMENT = (2024, 1, 1, 0, 0, 0)


def write_own_wheel(folder: Path) -> Path:
    """The wheel, in `folder`; the same bytes for the same sources."""
    path = folder / f"{_NAME}-2.0-py2.py3-none-any.whl"
    members = [*_sources(), (f"{_INFO}/METADATA", _METADATA.encode()), (f"{_INFO}/WHEEL", _WHEEL.encode())]
    members.append((f"{_INFO}/entry_points.txt", _SCRIPTS.encode()))
    record = "".join(f"{name},sha256={_hash(content)},{len(content)}\n" for name, content in members)
    members.append((f"{_INFO}/RECORD", f"{record}{_INFO}/RECORD,,\n".encode()))
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name, _MOMENT), content)
    return path


def _sources() -> Iterator[tuple[str, bytes]]:
    with as_file(files(__package__) / "source") as source:
        for path in sorted(source.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
                yield path.relative_to(source).as_posix(), path.read_bytes()


def _hash(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
