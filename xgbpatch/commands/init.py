"""`xgbpatch init`."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click

from xgbpatch.commands._options import working_folder
from xgbpatch.config.settings import FILE_NAME
from xgbpatch.errors import ConfigurationError


@click.command("init")
@click.option("--force", is_flag=True, help=f"Replace a {FILE_NAME} that is there already.")
def command(force: bool) -> None:
    """Write a commented xgbpatch.toml into the current directory; prints its path.

    \b
    Examples:
      xgbpatch init
      xgbpatch init --force
    """
    path = working_folder() / FILE_NAME
    write(path, force)
    click.echo(str(path))
    click.echo("Edit it, then run `xgbpatch build`.", err=True)


def example() -> str:
    """The commented configuration file, every setting in it."""
    return (files("xgbpatch") / "data" / "example.toml").read_text(encoding="utf-8")


def write(path: Path, force: bool) -> None:
    """Write the example to `path`, whole or not at all; raises `ConfigurationError` where it would be overwritten."""
    from xgbpatch.util import write_new_file

    try:
        write_new_file(path, example(), force or path.is_dir())  # which nothing replaces
    except FileExistsError as error:
        raise ConfigurationError(f'"{path}" is there already', "`xgbpatch init --force` replaces it.") from error
    except OSError as error:
        raise ConfigurationError(f'cannot write "{path}": {error.strerror}') from error
