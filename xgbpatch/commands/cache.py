"""`xgbpatch cache`: what is kept on this machine to save work, and deleting it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from xgbpatch.commands import _context
from xgbpatch.commands._options import json_option
from xgbpatch.util import table

if TYPE_CHECKING:
    from xgbpatch.cache import CacheFolder


@click.group("cache", invoke_without_command=True)
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Show what is kept on this machine to save work: each kind, its size, how many entries, and the folder.

    The folder is $XDG_CACHE_HOME/xgbpatch, by default ~/.cache/xgbpatch. What is needed of it is made again, but for
    "last-build": which images `push` and `test-local` mean. Images are the engine's (`docker image ls`), and uv has a
    cache of its own (`uv cache dir`).

    \b
    Examples:
      xgbpatch cache
      xgbpatch cache --json
      xgbpatch cache clear --apply
    """
    if context.invoked_subcommand:
        return
    from xgbpatch import cache

    folder = _context.cache_folder()
    kinds = cache.kinds(folder)
    if as_json:
        rows = [
            {"kind": kind.name, "what": kind.what, "folder": str(kind.folder), "entries": kind.entries,
             "bytes": kind.size}
            for kind in kinds
        ]  # fmt: skip
        total = sum(kind.size for kind in kinds)
        click.echo(json.dumps({"folder": str(folder), "bytes": total, "kinds": rows}, indent=2))
    else:
        click.echo(f"{folder}:\n{_table(kinds)}" if kinds else f"{folder} holds nothing")


@command.command("clear")
@click.argument("names", nargs=-1, metavar="[KIND]...")
@click.option("--apply", "applied", is_flag=True, help="Delete. Without it, only say what would be deleted.")
def clear_(names: tuple[str, ...], applied: bool) -> None:
    """Say what of the cache would go, and with --apply delete it: the kinds named, or all that can be made again.

    What a running xgbpatch uses stays, and is named. "last-build" and what a checkout's tests keep go only by name.

    \b
    Examples:
      xgbpatch cache clear
      xgbpatch cache clear --apply
      xgbpatch cache clear wheels packages --apply
    """
    from xgbpatch import cache
    from xgbpatch.errors import ConfigurationError
    from xgbpatch.util import did_you_mean

    kinds = {kind.name: kind for kind in cache.kinds(_context.cache_folder())}
    known = tuple(dict.fromkeys((*cache.KINDS, *kinds)))
    for name in names:
        if name not in known:
            raise ConfigurationError(f'the cache has no kind "{name}"', did_you_mean(name, known))
    chosen = [kinds[name] for name in dict.fromkeys(names or cache.KINDS) if name in kinds and kinds[name].entries]
    used = [kind for kind in chosen if applied and not cache.clear(kind)]
    deleted = [kind for kind in chosen if kind not in used]
    if not chosen:
        click.echo("Nothing to delete.")
        return
    if deleted:
        click.echo(_table(deleted))
    size = f"{sum(kind.size for kind in deleted) / 1e6:.1f} MB"
    click.echo(f"Deleted: {size}." if applied else f"{size} would be deleted; --apply does it.")
    if used:
        raise ConfigurationError(
            f"a running xgbpatch uses {', '.join(kind.name for kind in used)}", "Run it again when that has ended."
        )


def _table(kinds: Sequence[CacheFolder]) -> str:
    return table([(kind.name, f"{kind.size / 1e6:.1f} MB", f"{kind.entries} entries", kind.what) for kind in kinds])
