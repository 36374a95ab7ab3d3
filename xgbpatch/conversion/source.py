"""Where models lie: a file, a folder, or a model.tar.gz; and writing the same with converted models in their place."""

from __future__ import annotations

import gzip
import io
import os
import secrets
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from xgbpatch.errors import ConfigurationError
from xgbpatch.inspection import model_file
from xgbpatch.inspection.model_file import ModelFile
from xgbpatch.util import atomic_write

_SHOWN = 20
_GZIP = b"\x1f\x8b"
_BROKEN = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError)


@dataclass(frozen=True)
class Model:
    """A model: its name in `Source`, a file with its bytes, and what they are."""

    name: str
    path: Path
    file: ModelFile


@dataclass(frozen=True)
class Source:
    """`models` are those at the top of a folder or of an archive; of a file, that file."""

    path: Path
    models: tuple[Model, ...]

    @property
    def is_archive(self) -> bool:
        return self.path.is_file() and tarfile.is_tarfile(self.path)


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """What `path` holds; of an archive, models are unpacked until the block ends. Raises `ConfigurationError` where
    there is no model, and lists what there is."""
    if not path.exists():
        raise ConfigurationError(f'there is no file "{path}"')
    with tempfile.TemporaryDirectory(prefix="xgbpatch-models-") as folder:
        try:
            if path.is_dir():
                files = {file.name: file for file in sorted(path.iterdir()) if file.is_file()}
            elif tarfile.is_tarfile(path):
                files = _unpacked(path, Path(folder))
            else:
                files = {path.name: path}
        except _BROKEN as error:
            raise ConfigurationError(f'"{path}" is a damaged archive: {error}') from error
        forms = {name: _recognised(file) for name, file in files.items() if path.is_file() or not name.startswith(".")}
        models = tuple(Model(name, files[name], file) for name, file in forms.items() if file)
        if not models:
            names = _names(path)
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            raise ConfigurationError(
                f'"{path}" holds no model of xgboost that is known here',
                f"It holds: {', '.join(names[:_SHOWN]) or 'no file'}{more}. Known are the old binary format, JSON, "
                "UBJSON and pickles, at the top of a folder or an archive and not in a folder below.",
            )
        yield Source(path, models)


def _recognised(path: Path) -> ModelFile | None:
    with path.open("rb") as file:
        head = file.read(model_file.HEAD)
        return model_file.recognise(head + file.read()) if model_file.format_of(head) else None


def _unpacked(path: Path, folder: Path) -> dict[str, Path]:
    """The files at the top of the archive, those that begin as models do with their content."""
    files = {}
    with tarfile.open(path) as archive:
        for place, member in enumerate(archive):
            name = _name(member)
            content = archive.extractfile(member) if member.isreg() and "/" not in name else None
            if content is None:
                continue
            files[name] = folder / str(place)
            head = content.read(model_file.HEAD)
            with files[name].open("wb") as file:
                file.write(head)
                if model_file.format_of(head):
                    shutil.copyfileobj(content, file)
    return files


def _names(path: Path) -> list[str]:
    """All files, also in folders below."""
    if path.is_dir():
        return sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    if not tarfile.is_tarfile(path):
        return [path.name]
    with tarfile.open(path) as archive:
        return [_name(member) for member in archive if member.isreg()]


def _name(member: tarfile.TarInfo) -> str:
    return member.name.removeprefix("./")


def require_writable(out: Path, force: bool) -> None:
    """Raises `ConfigurationError` where `out` is there and `force` is not given, or where its folder is missing."""
    if os.path.lexists(out) and not force:
        raise ConfigurationError(f'"{out}" is there already', "Name another path, or give --force to replace it.")
    if not out.absolute().parent.is_dir():
        raise ConfigurationError(f'there is no folder "{out.absolute().parent}" for "{out}"', "Make it first.")


def write(source: Source, out: Path, converted: Mapping[str, tuple[str, bytes]], force: bool) -> None:
    """`source` at `out`, whole or not at all, with other content, and another name, for each model of `converted`.

    Whatever else a folder or an archive holds is kept as it is. Raises `ConfigurationError` as `require_writable`, and
    `OSError` as the system does.
    """
    require_writable(out, force)
    if source.path.is_dir():
        part = out.absolute().with_name(f".{secrets.token_hex(8)}.part")
        try:
            shutil.copytree(source.path, part, symlinks=True)
            for name, (new_name, content) in converted.items():
                (part / name).unlink()
                atomic_write(part / new_name, content)
            _put_folder(part, out)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    elif source.is_archive:
        with tempfile.TemporaryDirectory(prefix=".xgbpatch-", dir=out.absolute().parent) as folder:
            part = Path(folder) / "archive"
            _repack(source.path, part, converted)
            part.replace(out)
    else:
        ((_, content),) = converted.values()
        atomic_write(out, content)


def _put_folder(part: Path, out: Path) -> None:
    old = part.with_name(f"{part.name}.old")
    if os.path.lexists(out):
        out.rename(old)
    try:
        part.rename(out)
    except OSError:
        if os.path.lexists(old):
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True) if old.is_dir() and not old.is_symlink() else old.unlink(missing_ok=True)


def _repack(path: Path, part: Path, converted: Mapping[str, tuple[str, bytes]]) -> None:
    """Every member with its order, owner, mode and times."""
    with path.open("rb") as stream:
        packed = stream.read(2) == _GZIP
    with part.open("wb") as plain:
        stream_out = gzip.GzipFile(filename="", mode="wb", fileobj=plain, mtime=0) if packed else plain
        with tarfile.open(path) as archive, tarfile.open(fileobj=stream_out, mode="w") as copy:
            for member in archive:
                content = archive.extractfile(member) if member.isreg() else None
                name = _name(member)
                if name in converted:
                    new_name, replaced = converted[name]
                    member.name = member.name.removesuffix(name) + new_name
                    member.size = len(replaced)
                    copy.addfile(member, io.BytesIO(replaced))
                else:
                    copy.addfile(member, content)
        if packed:
            stream_out.close()
        plain.flush()
        os.fsync(plain.fileno())
