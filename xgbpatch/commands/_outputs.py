"""Options that name a path to write: looked at while the command line is read, before minutes of work, and written at
the end."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import click
from click.core import ParameterSource

from xgbpatch.errors import ConfigurationError, FileError


class _NoFolder(FileNotFoundError):
    """The folder of a file is missing, and the command does not make it."""


class OutputFile(click.Path):
    """A file that can be written now; nothing is written yet. With `parents` its folder may still be missing.

    Raises `ConfigurationError`, which names the option, the path and the system's reason.
    """

    def __init__(self, parents: bool = False) -> None:
        super().__init__(dir_okay=False, path_type=Path)
        self._parents = parents

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(os.fsdecode(value))  # type: ignore[arg-type]  # what click gives: str, bytes or a path
        name = param.opts[-1] if param else "the output"
        try:
            _require_file(path, self._parents)
        except OSError as error:
            raise _refused(name, path, error) from error
        return path


class OutputFolder(click.Path):
    """A folder to write into, made where it is missing. A default is not looked at: it may never be needed.

    Raises as `OutputFile`.
    """

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(os.fsdecode(value))  # type: ignore[arg-type]
        if ctx and param and param.name and ctx.get_parameter_source(param.name) is ParameterSource.DEFAULT:
            return path
        try:
            _require_folder(_nearest(path))
        except OSError as error:
            raise _refused(param.opts[-1] if param else "the output", path, error) from error
        return path


def write(option: str, path: Path, content: bytes) -> None:
    """Write what `option` asked for, its folder too where that is missing; raises `FileError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise FileError(f'cannot write {option} "{path}": {error.strerror or error}') from error


def _require_file(path: Path, parents: bool) -> None:
    if path.is_symlink() and not path.exists():
        path = Path(os.path.realpath(path))  # writing makes what the link names
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        folder = _nearest(path.parent)
        if not parents and folder != path.parent.absolute():
            raise _NoFolder(None, f'there is no folder "{path.parent}"') from None
        _require_folder(folder)
        return
    if stat.S_ISREG(mode):
        os.close(os.open(path, os.O_WRONLY))
    elif stat.S_ISDIR(mode):
        raise IsADirectoryError(None, "it is a folder")
    elif not os.access(path, os.W_OK):  # a device, or a pipe that somebody may not read yet: opening does something
        raise PermissionError(None, "it must not be written")


def _require_folder(path: Path) -> None:
    """By a file without a name that is gone at once: permissions alone tell little to root, or of a mount."""
    import tempfile  # which every command's help would wait for

    if not stat.S_ISDIR(path.stat().st_mode):
        raise NotADirectoryError(None, f'"{path}" is no folder')
    tempfile.TemporaryFile(prefix=".xgbpatch-", dir=path).close()


def _nearest(path: Path) -> Path:
    """`path`, or the last of its parents that is there."""
    path = path.absolute()
    while True:
        try:
            path.stat()
        except FileNotFoundError:
            path = path.parent
        else:
            return path


def _refused(option: str, path: Path, error: OSError) -> ConfigurationError:
    next_step = "Make it first." if isinstance(error, _NoFolder) else "Name another path."
    return ConfigurationError(f'cannot write {option} "{path}": {error.strerror or error}', next_step)
