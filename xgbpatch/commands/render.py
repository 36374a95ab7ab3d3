"""`xgbpatch render`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from xgbpatch.commands._options import Selection, image_options, json_option, quiet_option

if TYPE_CHECKING:
    from xgbpatch.build.engine import EngineDefinition


@click.command("render")
@image_options
@json_option
@quiet_option
def command(selection: Selection, as_json: bool, quiet: bool) -> None:
    """Show the Dockerfile and every file it would add; build nothing.

    \b
    Examples:
      xgbpatch render --version 3.2-0
      xgbpatch render --version 1.5-1 --feature daal4py --json
    """
    from xgbpatch.build import engine as engine_builder
    from xgbpatch.commands import _context
    from xgbpatch.commands._context import resolve_base

    for spec in selection.specs():
        with _context.open_workshop(quiet) as shop:
            rendered = engine_builder.render(shop, spec, resolve_base(shop, spec))
        click.echo(json.dumps(document(rendered), indent=2) if as_json else text(rendered))


def document(rendered: EngineDefinition) -> dict[str, object]:
    """What `--json` prints."""
    return {
        "image": str(rendered.reference),
        "base": str(rendered.base.reference),
        "dockerfile": rendered.dockerfile,
        "files": [
            {"path": file.target, "sha256": file.sha256, "bytes": len(file.read()), "executable": file.executable}
            for file in rendered.patch.files
        ],
        "environment": dict(rendered.patch.environment),
    }


def text(rendered: EngineDefinition) -> str:
    """The Dockerfile, then a line a file: sha256 (its first 12 digits), bytes, path."""
    lines = [f"{file.sha256[:12]} {len(file.read()):>11} {file.target}" for file in rendered.patch.files]
    total = sum(len(file.read()) for file in rendered.patch.files)
    return "\n".join([rendered.dockerfile.rstrip(), "", *lines, f"{len(lines)} files, {total} bytes"])
