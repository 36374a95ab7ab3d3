"""`python -m xgbpatch.standin VERSION…` builds stand-in bases and prints their references."""

from __future__ import annotations

import click

from xgbpatch.errors import XgbpatchError
from xgbpatch.progress import shown
from xgbpatch.standin.versions import VERSIONS


@click.command()
@click.argument("versions", nargs=-1, required=True, type=click.Choice(list(VERSIONS)), metavar="VERSION...")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
def main(versions: tuple[str, ...], quiet: bool) -> None:
    """Build the stand-in base of each VERSION in the local engine."""
    from xgbpatch.engine.client import Engine
    from xgbpatch.standin.build import build_standin, standin_reference

    try:
        with Engine.connect() as engine, shown(quiet) as progress:
            for version in versions:
                build_standin(engine, version, progress)
                click.echo(str(standin_reference(version)))
    except XgbpatchError as error:
        click.echo(f"{error.message}\n{error.next_step}".strip(), err=True)
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main(prog_name="python -m xgbpatch.standin")
