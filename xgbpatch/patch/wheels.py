"""Fetching pinned wheels and unpacking them, by their own scheme, into a folder that lands beside the base."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from xgbpatch import cache, layout
from xgbpatch.errors import PackageError
from xgbpatch.inspection.facts import Facts, PythonFacts
from xgbpatch.patch import indexes
from xgbpatch.patch.packages import Pin
from xgbpatch.progress import Progress

_CHUNK = 1 << 20


def fetch(pin: Pin, folder: Path, progress: Progress) -> Path:
    """The wheel's file, kept in `folder` and looked at again; raises `PackageError` when its sha256 is another."""

    def make(part: Path) -> None:
        _download(pin, part, progress)
        sha256 = cache.sha256_of(part)
        if sha256 != pin.sha256:
            raise PackageError(
                f'"{pin.filename}" has sha256 {sha256} instead of the pinned {pin.sha256}',
                "The index or the connection changed the file; nothing of it was used.",
            )

    return cache.keep_file(folder / pin.sha256 / pin.filename, pin.sha256, make)


def unpack(wheels: Sequence[Path], prefix: Path, python: PythonFacts) -> None:
    """Install `wheels` below `prefix`, data files included (`pip --target` would drop them); no byte code is written.

    `python` is the image's interpreter: it names the folder for modules and stands in the first line of scripts.
    """
    from installer import install
    from installer.destinations import SchemeDictionaryDestination
    from installer.sources import WheelFile

    site = str(prefix / layout.site(python.minor))
    scheme = {
        "purelib": site,
        "platlib": site,
        "scripts": str(prefix / "bin"),
        "data": str(prefix),
        "headers": str(prefix / "include"),
    }
    destination = SchemeDictionaryDestination(scheme, python.executable, "posix")
    for wheel in wheels:
        with WheelFile.open(wheel) as source:
            try:
                source.validate_record()
            except WheelFile.validation_error as error:
                raise PackageError(
                    f'"{wheel.name}" does not hold what its RECORD says: {error}', "It was not used."
                ) from error
            install(source, destination, {"INSTALLER": b"xgbpatch\n"})


def slim(prefix: Path, patterns: Iterable[str]) -> int:
    """Delete what matches `patterns` (globs below `prefix`), and folders left empty; returns the bytes freed."""
    freed = 0
    for pattern in patterns:
        for path in sorted(prefix.glob(pattern), reverse=True):
            freed += _delete(path)
    return freed


def undeclare(prefix: Path, names: Iterable[str]) -> None:
    """Take the requirements out of the metadata of the distributions `names`, of which a part is used that has none.

    `pip check` would report them in an image that does without.
    """
    for name in names:
        for metadata in prefix.glob(f"lib/python*/site-packages/{name}-*.dist-info/METADATA"):
            lines = metadata.read_text(encoding="utf-8").splitlines(keepends=True)
            metadata.write_text(
                "".join(line for line in lines if not line.startswith("Requires-Dist:")), encoding="utf-8"
            )


def refuse_shadowing(prefix: Path, facts: Facts) -> None:
    """Raises `PackageError` where an unpacked module would hide one of the base's; namespace packages may share."""
    for entry in sorted((prefix / layout.site(facts.python.minor)).iterdir()):
        name = entry.name.split(".")[0]
        regular = entry.is_file() or (entry / "__init__.py").exists()
        if regular and name in facts.top_levels and not entry.name.endswith(".dist-info"):
            raise PackageError(
                f'the package that brings "{entry.name}" would hide the base\'s module "{name}"',
                "Leave that package out: the base has its own.",
            )


def _download(pin: Pin, part: Path, progress: Progress) -> None:
    parts = urlsplit(pin.url)
    if parts.scheme == "file":
        part.write_bytes(Path(unquote(parts.path)).read_bytes())
        return
    import requests
    from requests.auth import HTTPBasicAuth

    environment = indexes.variables()
    known = indexes.credentials(pin.url, environment)
    insecure = {parts.hostname, parts.netloc} & {*environment.get("UV_INSECURE_HOST", "").split()}
    try:
        with requests.get(
            pin.url, stream=True, timeout=60, verify=not insecure and (environment.get("SSL_CERT_FILE") or True),
            auth=HTTPBasicAuth(known[0].encode(), known[1].encode()) if known else None,  # without it, netrc's
        ) as response:  # fmt: skip
            if response.status_code in (401, 403):
                raise PackageError(
                    f'"{parts.hostname}" answers {response.status_code} for "{pin.filename}"',
                    "Its credentials are sought in the index's address, UV_INDEX_<NAME>_PASSWORD, netrc and, with "
                    "UV_KEYRING_PROVIDER=subprocess, keyring.",
                )
            response.raise_for_status()
            length = response.headers.get("Content-Length", "")
            total, done = int(length) if length.isdecimal() else 0, 0
            with part.open("wb") as stream:
                for chunk in response.iter_content(_CHUNK):
                    done += stream.write(chunk)
                    progress.update(f"Downloading {pin.filename}", done, total)
    except requests.RequestException as error:
        reason = indexes.redacted(str(error))
        raise PackageError(f'"{pin.filename}" could not be downloaded: {reason}', "Try again.") from None


def _delete(path: Path) -> int:
    if path.is_dir() and not path.is_symlink():
        freed = sum(_delete(child) for child in sorted(path.iterdir()))
        path.rmdir()
        return freed
    size = path.lstat().st_size if path.exists() or path.is_symlink() else 0
    path.unlink(missing_ok=True)
    return size
